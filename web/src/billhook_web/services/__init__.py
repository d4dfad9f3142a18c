"""What the host does: each service loads, decides and saves; none speaks SQL, none knows HTTP or the queue."""
