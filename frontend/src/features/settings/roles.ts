import type { Schema } from "@/api/client";

/** What each role may do, in one line; each may do what the ones before it may. */
export const ROLES: Record<Schema<"Role">, string> = {
  viewer: "look at everything, download, stop a robot",
  annotator: "label episodes and publish labels, besides what a viewer may",
  operator: "record, train, evaluate, delete and re-arm robots, besides what an annotator may",
  admin: "manage people and settings, besides what an operator may",
};

export const ROLE_NAMES = Object.keys(ROLES) as Schema<"Role">[];
