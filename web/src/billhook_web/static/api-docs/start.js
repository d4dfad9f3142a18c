// Kept out of the page: its content security policy allows no inline script.
const page = document.getElementById("api-docs");
SwaggerUIBundle({ url: page.dataset.document, domNode: page, deepLinking: true, validatorUrl: null });
