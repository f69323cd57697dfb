import { ApiError } from "@/api/client";
import { ask } from "@/ui/confirm";

/**
 * Publish; where the server says that nobody looked at substeps that a script or a file brought, ask the person who
 * publishes, and publish with their word. Without it the server's refusal stands.
 */
export async function onceLookedAt<T>(publish: (lookedAt: boolean) => Promise<T>): Promise<T> {
  try {
    return await publish(false);
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== "not_looked_at") throw error;
    const looked = await ask({
      title: "Has somebody looked at these substeps?",
      children: countOf(error.detail),
      confirm: "I have looked at them: publish",
    });
    if (!looked) throw error;
    return publish(true);
  }
}

function countOf(detail: unknown): string {
  const { segments, of } = detail as { segments: unknown[]; of: number };
  return `${segments.length} of ${of} came from a script or a file and have not been edited since. Somebody has to look at labels made by a machine before they are trained on: play the episode, and publish them if they are right.`;
}
