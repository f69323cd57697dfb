/** /api/docs: the API's own description, to read and to try. A page of its own: nobody else loads the viewer. */
import "swagger-ui-dist/swagger-ui.css";

import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle.js";

SwaggerUI({ dom_id: "#api", url: "/api/openapi.json", deepLinking: true, validatorUrl: null });
