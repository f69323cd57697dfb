import {
  IconBooks,
  IconChecklist,
  IconCube,
  IconHome,
  IconListDetails,
  IconPackage,
  IconRobot,
  IconSettings,
  IconTrendingDown,
} from "@tabler/icons-react";

/** The pages of the navigation, in the order of the loop: data, training, results, the machine room. */
export const NAVIGATION = [
  { to: "/", label: "Home", icon: IconHome, also: [] },
  { to: "/datasets", label: "Datasets", icon: IconBooks, also: ["/episodes"] },
  { to: "/models", label: "Base models", icon: IconCube, also: [] },
  { to: "/training", label: "Training", icon: IconTrendingDown, also: [] },
  { to: "/checkpoints", label: "Checkpoints", icon: IconPackage, also: [] },
  { to: "/evaluations", label: "Evaluations", icon: IconChecklist, also: [] },
  { to: "/robots", label: "Robots", icon: IconRobot, also: ["/live"] },
  { to: "/jobs", label: "Jobs", icon: IconListDetails, also: [] },
  { to: "/settings", label: "Settings", icon: IconSettings, also: [] },
] as const;

/** Whether `path` lies at or below the page `to` (or one that belongs to it). */
export function isWithin(path: string, { to, also }: { to: string; also: readonly string[] }): boolean {
  if (to === "/") return path === "/";
  return [to, ...also].some((root) => path === root || path.startsWith(`${root}/`));
}
