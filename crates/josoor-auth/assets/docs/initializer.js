"use strict";

window.addEventListener("load", () => {
  SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    tryItOutEnabled: true,
    displayRequestDuration: true,
    // Kept tokens would outlive the tab, and the validator's badge would be asked of another host.
    persistAuthorization: false,
    validatorUrl: null,
  });
});
