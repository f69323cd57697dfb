declare module "swagger-ui-dist/swagger-ui-es-bundle.js" {
  /** What the viewer is started with; there is more, see its documentation. */
  interface Options {
    dom_id: string;
    url: string;
    deepLinking: boolean;
    /** a service that shows whether the description is valid; null: none is asked */
    validatorUrl: null;
  }
  export default function SwaggerUI(options: Options): void;
}
