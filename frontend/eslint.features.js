// For eslint.config.js. A feature imports another feature's `core`, or nothing of it. Paths are absolute ("@/features/...")
// wherever they leave a folder, which move.py sees to, so that patterns can tell.
const FEATURES = [
  "auth",
  "base_models",
  "checkpoints",
  "datasets",
  "episodes",
  "evaluations",
  "home",
  "jobs",
  "labels/dataset",
  "labels/editor",
  "labels/review",
  "live",
  "robots",
  "settings",
  "training",
];

export const featureRules = FEATURES.map((feature) => ({
  files: [`src/features/${feature}/**/*.{ts,tsx}`],
  rules: {
    "no-restricted-imports": [
      "error",
      {
        patterns: [
          {
            // anything of a feature, except a core and what is one's own
            regex: `^@/features/(?!${feature}/|(?:[a-z_]+/)+core/)`,
            message: "A feature imports another feature's core or nothing of it.",
          },
          { regex: "^\\.\\./", message: 'Write what lies outside this folder as "@/...".' },
        ],
      },
    ],
  },
})).concat([
  {
    files: [
      "src/ui/**/*.{ts,tsx}",
      "src/api/**/*.{ts,tsx}",
      "src/features/*/core/**/*.{ts,tsx}",
      "src/features/labels/core/**/*.{ts,tsx}",
    ],
    ignores: ["src/features/live/core/**"], // its one part is made of the live page's own
    rules: {
      "no-restricted-imports": [
        "error",
        {
          patterns: [{ regex: "^@/features/(?!(?:[a-z_]+/)+core/)", message: "What many share imports cores alone." }],
        },
      ],
    },
  },
]);
