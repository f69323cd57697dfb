import type { ComponentType } from "react";
import { createBrowserRouter, type RouteObject } from "react-router";

import { NotFound } from "./shell/NotFound";
import { PageError } from "./shell/PageError";
import { PageLoading } from "./shell/PageLoading";
import { Shell } from "./shell/Shell";

type Feature = Promise<{ default: ComponentType }>;

/** A feature below `path`, loaded when the person first goes there; it has <Routes> of its own. */
function feature(path: string, load: () => Feature): RouteObject {
  return {
    path: path === "" ? "" : `${path}/*`,
    lazy: async () => ({ Component: (await load()).default }),
    ErrorBoundary: PageError,
  };
}

const auth = () => import("./features/auth");

export const router = createBrowserRouter([
  {
    ErrorBoundary: PageError,
    HydrateFallback: PageLoading,
    children: [
      feature("sign-in", auth),
      feature("setup", auth),
      feature("link", auth),
      {
        Component: Shell,
        children: [
          feature("", () => import("./features/home")),
          feature("datasets", () => import("./features/datasets")),
          feature("datasets/:id/labels", () => import("./features/labels")),
          feature("episodes", () => import("./features/labels/editor")),
          feature("training", () => import("./features/training")),
          feature("models", () => import("./features/base_models")),
          feature("checkpoints", () => import("./features/checkpoints")),
          feature("evaluations", () => import("./features/evaluations")),
          feature("robots", () => import("./features/robots")),
          feature("live", () => import("./features/live")),
          feature("jobs", () => import("./features/jobs")),
          feature("settings", () => import("./features/settings")),
          { path: "*", Component: NotFound },
        ],
      },
    ],
  },
]);
