import { describe, expect, it } from "vitest";

import { ApiError } from "@/api/error";

import { findings, Uploads, type Send } from "./upload";

const file = (name: string) => new File(["x"], name);
const states = (uploads: Uploads) => uploads.items.map(({ upload }) => upload.state);

async function settle(): Promise<void> {
  for (let round = 0; round < 20; round += 1) await Promise.resolve();
}

describe("Uploads", () => {
  it("sends one after the other; a refused file does not stop the rest", async () => {
    const sent: string[] = [];
    const send: Send = ({ name }, progress) => {
      sent.push(name);
      progress({ state: "sending", share: 0.5 });
      if (name.startsWith("bad"))
        return Promise.reject(
          new ApiError(422, {
            code: "refused",
            message: "bad.hdf5 cannot be trained on",
            detail: { errors: ["no /action"] },
          }),
        );
      return Promise.resolve({ episode: { id: name } as never, warnings: ["no labels"] });
    };
    let accepted = 0;
    const uploads = new Uploads(send, () => (accepted += 1));
    uploads.add([file("a.hdf5"), file("bad.hdf5"), file("b.hdf5")]);
    expect(states(uploads)).toEqual(["sending", "waiting", "waiting"]);
    await settle();
    expect(states(uploads)).toEqual(["accepted", "refused", "accepted"]);
    expect([sent, accepted]).toEqual([["a.hdf5", "bad.hdf5", "b.hdf5"], 2]);
    expect(uploads.items[1]?.upload).toEqual({
      state: "refused",
      message: "bad.hdf5 cannot be trained on",
      errors: ["no /action"],
    });
    uploads.clear();
    expect(uploads.items).toEqual([]);
  });

  it("cancels what is under way and what waits, and tries again", async () => {
    let tries = 0;
    const send: Send = (_, __, signal) => {
      tries += 1;
      if (tries > 1) return Promise.resolve({ episode: {} as never, warnings: [] });
      return new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(new DOMException("", "AbortError")));
      });
    };
    const uploads = new Uploads(send);
    uploads.add([file("a"), file("b")]);
    uploads.cancel("2");
    uploads.cancel("1");
    await settle();
    expect(states(uploads)).toEqual(["cancelled", "cancelled"]);
    uploads.retry("1");
    await settle();
    expect(states(uploads)).toEqual(["accepted", "cancelled"]);
  });
});

describe("findings", () => {
  it("lists what the message does not say already", () => {
    const error = new ApiError(422, {
      code: "x",
      message: "two problems: no /action",
      detail: ["no /action", "no /qpos"],
    });
    expect(findings(error)).toEqual({ message: "two problems: no /action", errors: ["no /qpos"] });
    expect(findings(new Error("odd"))).toEqual({ message: "odd", errors: [] });
  });
});
