/** What to do about a failed run, by what its cause says. The cause itself is the server's; this only points the way. */
export function adviceFor(cause: string | null): string {
  const text = (cause ?? "").toLowerCase();
  if (/copy the run|put it back|resume the run/.test(text)) return ""; // it says so itself
  if (/out of memory|oom|cuda error: memory|killed by the kernel|signal 9/.test(text))
    return "Copy the run with a smaller batch size (and more gradient accumulation), gradient checkpointing, or LoRA.";
  if (/no space|disk is full|disk full|enospc/.test(text))
    return "Free some disk (old checkpoints can be deleted), or copy the run and keep fewer checkpoints; then try again: it goes on from its last checkpoint.";
  if (/\bnan\b|not finite|diverge/.test(text))
    return "Copy the run with a lower learning rate, or longer warm-up. Look at the curves for where it began.";
  if (/is gone|no such file|missing|not found/.test(text))
    return "Put back what is missing and try again, or copy the run and choose something else.";
  if (/three attempts|no progress/.test(text))
    return "Look at the end of the log: each attempt stopped at the same place. Try again once the cause is fixed.";
  return "The end of the log says more. Trying again goes on from the last checkpoint; a copy can be changed first.";
}
