/** A clock that the browser does not slow down as it does the timers of a page: it only says when to send. */
let timer: ReturnType<typeof setInterval> | undefined;

self.onmessage = ({ data }: MessageEvent<number>) => {
  clearInterval(timer);
  timer = data > 0 ? setInterval(() => self.postMessage(null), data) : undefined;
};
