import {
  Alert,
  Badge,
  Button,
  Card,
  Combobox,
  createTheme,
  Menu,
  Modal,
  Paper,
  Popover,
  Table,
  Tooltip,
  type MantineColorsTuple,
} from "@mantine/core";

/** Calm blue-green of the product; shade 6 carries white text at 4.5:1 and more. */
const studio: MantineColorsTuple = [
  "#eef7fa",
  "#dcebf1",
  "#b4d6e3",
  "#89c0d5",
  "#66adc9",
  "#50a1c2",
  "#2b7ba0",
  "#246a8b",
  "#1d5a77",
  "#134961",
];

/** Greys of the dark scheme: a little cooler than Mantine's, with more contrast between card and ground. */
const dark: MantineColorsTuple = [
  "#d3d7dc",
  "#b4bac2",
  "#8f979f",
  "#666f79",
  "#444d57",
  "#2d343c",
  "#21272e",
  "#191e24",
  "#14181d",
  "#0f1216",
];

/** What was answered is gone: while it faded away it would still take the keys that follow. */
const AT_ONCE = { duration: 0 };

/** Lists open upwards rather than over the lowest strip of the window, where a live page has its stop. */
const ABOVE_THE_STOP = { flip: { padding: { bottom: 112 } }, shift: true };

export const theme = createTheme({
  colors: { studio, dark },
  primaryColor: "studio",
  primaryShade: { light: 6, dark: 6 },
  autoContrast: true,
  defaultRadius: "md",
  cursorType: "pointer",
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Helvetica Neue", Arial, sans-serif',
  fontFamilyMonospace: 'ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace',
  headings: {
    fontWeight: "600",
    sizes: { h1: { fontSize: "1.5rem" }, h2: { fontSize: "1.15rem" }, h3: { fontSize: "1rem" } },
  },
  components: {
    // an outlined alert's title would be in the outline's colour: yellow on white has a contrast of 2:1
    Alert: Alert.extend({
      styles: (_theme, { variant }) => (variant === "outline" ? { title: { color: "var(--mantine-color-text)" } } : {}),
    }),
    Badge: Badge.extend({
      defaultProps: { variant: "light", radius: "sm", tt: "none" },
      // on its pale ground the colour itself is too pale for small text: yellow has a contrast of 2.6:1
      vars: (_theme, { color, variant }) => ({
        root:
          variant === "light" && color !== undefined && !color.includes(".")
            ? {
                "--badge-color": `light-dark(color-mix(in srgb, var(--mantine-color-${color}-9) 50%, black), var(--mantine-color-${color}-light-color))`,
              }
            : {},
      }),
      styles: { root: { flexShrink: 0, letterSpacing: 0 }, label: { overflow: "visible" } },
    }),
    Button: Button.extend({ defaultProps: { size: "sm" } }),
    Card: Card.extend({ defaultProps: { withBorder: true, padding: "md" } }),
    Combobox: Combobox.extend({ defaultProps: { middlewares: ABOVE_THE_STOP } }),
    Notification: { defaultProps: { closeButtonProps: { "aria-label": "Close" } } },
    Menu: Menu.extend({ defaultProps: { transitionProps: AT_ONCE, middlewares: ABOVE_THE_STOP } }),
    Modal: Modal.extend({
      defaultProps: {
        transitionProps: AT_ONCE,
        centered: true,
        closeButtonProps: { "aria-label": "Close" },
        overlayProps: { backgroundOpacity: 0.45, blur: 2 },
      },
    }),
    Paper: Paper.extend({ defaultProps: {} }),
    Popover: Popover.extend({ defaultProps: { transitionProps: AT_ONCE } }),
    Table: Table.extend({ defaultProps: { verticalSpacing: "xs", horizontalSpacing: "sm" } }),
    Tooltip: Tooltip.extend({
      defaultProps: {
        withArrow: true,
        openDelay: 250,
        multiline: true,
        maw: 360,
        events: { hover: true, focus: true, touch: true },
      },
    }),
  },
});
