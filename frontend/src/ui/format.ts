/** Numbers and times for people. All pure; `now` is given so that tests need no clock. */

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;

/** Seconds as "0.4 s", "42 s", "3 min 5 s", "2 h 10 min", "3 d 4 h". */
export function formatSeconds(seconds: number): string {
  if (!Number.isFinite(seconds)) return "unknown";
  const s = Math.max(0, seconds);
  if (s < 9.95) return s === 0 ? "0 s" : `${s.toFixed(1)} s`;
  const whole = Math.round(s);
  if (whole < MINUTE) return `${whole} s`;
  if (whole < HOUR) return join(Math.floor(whole / MINUTE), "min", whole % MINUTE, "s");
  const minutes = Math.round(s / MINUTE);
  if (minutes < 24 * 60) return join(Math.floor(minutes / 60), "h", minutes % 60, "min");
  const hours = Math.round(s / HOUR);
  return join(Math.floor(hours / 24), "d", hours % 24, "h");
}

function join(big: number, bigUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${big} ${bigUnit}` : `${big} ${bigUnit} ${small} ${smallUnit}`;
}

/** An estimate, deliberately coarse so that it does not flicker: "a few seconds", "about 20 s", "about 4 min". */
export function formatEstimate(seconds: number): string {
  if (seconds < 5) return "a few seconds";
  if (seconds < 50) return `about ${Math.ceil(seconds / 10) * 10} s`;
  if (seconds < 90) return "about 1 min";
  if (seconds < 50 * MINUTE) return `about ${Math.round(seconds / MINUTE)} min`;
  return `about ${formatSeconds(Math.round(seconds / 300) * 300)}`;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** Bytes with a binary unit: "512 B", "1.4 GiB". */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1023.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[unit] ?? ""}`;
}

/** A count with thin separators, in the reader's language. */
export function formatCount(value: number): string {
  return value.toLocaleString();
}

/** "1 episode", "3 episodes". */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

/** A share of one as percent: 0.5 -> "50 %". */
export function formatPercent(share: number, digits = 0): string {
  return `${(share * 100).toFixed(digits)} %`;
}

/** About four significant digits, small and large ones by power of ten: 0.01234, 1.2e-5. */
export function formatNumber(value: number, digits = 4): string {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(Math.max(0, digits - 2)).replace("e+", "e");
  return String(Number(value.toPrecision(digits)));
}

/** How long ago: "just now", "4 min ago", "3 h ago", "2 d ago", then the date. Also ahead: "in 3 h". */
export function formatAgo(time: Date, now: Date): string {
  const seconds = (now.getTime() - time.getTime()) / 1000;
  const distance = Math.abs(seconds);
  if (distance < 10) return "just now";
  const text =
    distance < MINUTE
      ? `${Math.round(distance)} s`
      : distance < HOUR
        ? `${Math.round(distance / MINUTE)} min`
        : distance < DAY
          ? `${Math.round(distance / HOUR)} h`
          : distance < 30 * DAY
            ? `${Math.round(distance / DAY)} d`
            : null;
  if (text === null) return time.toLocaleDateString(undefined, { year: "numeric", month: "short", day: "numeric" });
  return seconds >= 0 ? `${text} ago` : `in ${text}`;
}

/** The exact time in the reader's zone. */
export function formatTime(time: Date): string {
  return time.toLocaleString(undefined, {
    year: "numeric",
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    timeZoneName: "short",
  });
}

/** First characters of a hash, enough to tell two apart. */
export function shortHash(hash: string): string {
  return hash.slice(0, 10);
}
