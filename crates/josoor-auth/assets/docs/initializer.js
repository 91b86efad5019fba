"use strict";

window.addEventListener("load", () => {
  SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    tryItOutEnabled: true,
    displayRequestDuration: true,
    // Each operation shows what it takes; the list of all schemas is opened on demand.
    defaultModelsExpandDepth: 0,
    filter: true,
    // Kept tokens would outlive the tab, and the validator's badge would be asked of another host.
    persistAuthorization: false,
    validatorUrl: null,
  });
});
