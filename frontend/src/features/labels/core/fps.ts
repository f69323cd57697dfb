/** Where a file says nothing, plots and playback assume this. */
export const DEFAULT_FPS = 50;
