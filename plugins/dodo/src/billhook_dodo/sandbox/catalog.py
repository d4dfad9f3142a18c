"""Products, customers and the cards customers leave behind."""

from __future__ import annotations

from .cards import Card
from .records import Customer, Json, Product, SavedMethod
from .state import World, new_id

DEFAULT_BILLING = {"country": "DE", "city": None, "state": None, "street": None, "zipcode": None}


def add_product(world: World, body: Json) -> Product:
    """Create a product from a checked ``POST /products`` body."""
    now = world.now()
    product = Product(
        product_id=new_id("pdt"),
        name=body["name"],
        description=body.get("description"),
        price=body["price"],
        tax_category=body["tax_category"],
        metadata=body.get("metadata") or {},
        created_at=now,
        updated_at=now,
    )
    world.products[product.product_id] = product
    return product


def change_product(world: World, product: Product, body: Json) -> None:
    """Apply a checked ``PATCH /products/{id}`` body; the price is replaced whole, as Dodo does."""
    for name in ("name", "price", "tax_category", "metadata"):
        if body.get(name) is not None:
            setattr(product, name, body[name])
    if "description" in body:
        product.description = body["description"]
    product.updated_at = world.now()


def add_customer(world: World, body: Json) -> Customer:
    """Create a customer; without a name, the e-mail address stands in for it."""
    customer = Customer(
        customer_id=new_id("cus"),
        email=body["email"],
        name=body.get("name") or body["email"],
        created_at=world.now(),
        phone_number=body.get("phone_number"),
        preferred_locale=body.get("preferred_locale"),
        metadata=body.get("metadata") or {},
    )
    world.customers[customer.customer_id] = customer
    return customer


def change_customer(customer: Customer, body: Json) -> None:
    """Apply a checked ``PATCH /customers/{id}`` body; null leaves a property as it is."""
    for name in ("email", "name", "phone_number", "preferred_locale", "metadata"):
        if body.get(name) is not None:
            setattr(customer, name, body[name])


def attach_customer(world: World, given: Json, *, always_new: bool = False) -> Customer:
    """Return the customer a checkout names: by id, else by e-mail (Dodo matches those), else a new one."""
    if "customer_id" in given:
        return world.customer(given["customer_id"])
    if not always_new:
        for customer in world.customers.values():
            if customer.email == given["email"]:
                return customer
    return add_customer(world, given)


def save_card(world: World, customer_id: str, card: Card, *, recurring: bool) -> SavedMethod:
    """Keep a card for later charges."""
    method = SavedMethod(
        payment_method_id=new_id("pm"),
        customer_id=customer_id,
        card=card,
        recurring_enabled=recurring,
        last_used_at=world.now(),
    )
    world.methods[method.payment_method_id] = method
    return method
