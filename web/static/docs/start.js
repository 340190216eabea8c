// Earlier versions kept tokens here.
localStorage.removeItem("authorized");

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  // A token entered here ends with the page.
  persistAuthorization: false,
  // The validator badge would contact another site.
  validatorUrl: null,
});
