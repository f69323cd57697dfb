/** As `ref`: where one writes what one has just asked for is where the focus goes when it appears. */
export function focusOn(field: HTMLElement | null): void {
  field?.focus();
}
