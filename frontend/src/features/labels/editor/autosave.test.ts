// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { Autosave, saveText, type AutosaveOptions, type Failure, type Stored } from "./autosave";

class Conflict extends Error {
  constructor(readonly stored: Stored<string>) {
    super("conflict");
  }
}
class Refused extends Error {}

/** What the API does: counts saves, refuses an old number. */
class Server {
  stored: Stored<string> = { edit: 0, document: "" };
  saves = 0;
  online = true;
  /** it is stored, but the answer never arrives */
  losesAnswers = false;
  refuses = false;
  hold: Promise<void> | null = null;

  readonly save = async (document: string, edit: number): Promise<Stored<string>> => {
    this.saves += 1;
    if (this.hold) await this.hold;
    if (!this.online) throw new TypeError("fetch failed");
    if (this.refuses) throw new Refused("the text holds <eos>");
    if (edit !== this.stored.edit) throw new Conflict(this.stored);
    this.stored = { edit: edit + 1, document };
    if (this.losesAnswers) throw new TypeError("connection reset");
    return this.stored;
  };
}

function outcome(error: unknown): Failure<string> {
  if (error instanceof Conflict) return { kind: "conflict", stored: error.stored };
  if (error instanceof Refused) return { kind: "refused", message: error.message };
  return { kind: "offline", message: String(error) };
}

let server: Server;

function autosave(extra: Partial<AutosaveOptions<string>> = {}): Autosave<string> {
  return new Autosave<string>({
    edit: server.stored.edit,
    save: server.save,
    outcome,
    same: (a, b) => a === b,
    changed: () => undefined,
    storage: localStorage,
    key: "draft",
    ...extra,
  });
}

beforeEach(() => {
  vi.useFakeTimers();
  localStorage.clear();
  server = new Server();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("Autosave", () => {
  it("saves once, a moment after the last edit", async () => {
    const saving = autosave();
    for (const text of ["a", "ab", "abc"]) {
      saving.change(text);
      await vi.advanceTimersByTimeAsync(400);
    }
    expect([server.saves, saving.state.kind, saving.unsaved]).toEqual([0, "pending", true]);
    await vi.advanceTimersByTimeAsync(300);
    expect([server.saves, server.stored.document, saving.edit]).toEqual([1, "abc", 1]);
    expect(saving.state.kind).toBe("saved");
    expect(localStorage.getItem("draft")).toBeNull();
  });

  it("keeps every edit in the browser until it is acknowledged", async () => {
    const saving = autosave();
    saving.change("typed");
    saving.dispose(); // the tab dies before the save
    await vi.advanceTimersByTimeAsync(5000);
    expect(server.saves).toBe(0);
    expect(autosave().kept()).toMatchObject({ edit: 0, document: "typed" });
  });

  it("saves what came while a save was under way", async () => {
    const saving = autosave();
    let release: () => void = () => undefined;
    server.hold = new Promise((resolve) => (release = resolve));
    saving.change("first");
    await vi.advanceTimersByTimeAsync(700);
    saving.change("second");
    server.hold = null;
    release();
    await vi.advanceTimersByTimeAsync(1000);
    expect([server.saves, server.stored]).toEqual([2, { edit: 2, document: "second" }]);
    expect(saving.state.kind).toBe("saved");
  });

  it("flushes at once", async () => {
    const saving = autosave();
    saving.change("now");
    await saving.flush();
    expect(server.stored.document).toBe("now");
  });

  it("tries again while it is offline, with growing pauses, and at once when told", async () => {
    const saving = autosave();
    server.online = false;
    saving.change("x");
    await vi.advanceTimersByTimeAsync(600 + 1000 + 2000 + 4000 + 100);
    expect([server.saves, saving.state.kind]).toEqual([4, "offline"]);
    expect(localStorage.getItem("draft")).not.toBeNull();
    server.online = true;
    saving.retry();
    await vi.advanceTimersByTimeAsync(0);
    expect([server.stored.document, saving.state.kind]).toEqual(["x", "saved"]);
  });

  it("keeps ten minutes of work without a connection over a new visit, and saves them on return", async () => {
    const saving = autosave();
    server.online = false;
    for (let minute = 1; minute <= 10; minute++) {
      saving.change(`minute ${minute}`);
      await vi.advanceTimersByTimeAsync(60_000);
      expect([saving.state.kind, saving.kept()?.document]).toEqual(["offline", `minute ${minute}`]);
    }
    saving.dispose(); // the tab is closed, and opened again
    const again = autosave();
    expect(again.kept()).toMatchObject({ edit: 0, document: "minute 10" });
    again.change(again.kept()?.document ?? "");
    await vi.advanceTimersByTimeAsync(5_000);
    server.online = true; // nobody tells: it tries by itself, at most twenty seconds later
    await vi.advanceTimersByTimeAsync(20_000);
    expect([server.stored, again.state.kind, again.kept()]).toEqual([
      { edit: 1, document: "minute 10" },
      "saved",
      null,
    ]);
  });

  it("loses nothing that was typed in twenty tabs that die at random moments", async () => {
    let seed = 20;
    const chance = (below: number) => (seed = (seed * 48271) % 2147483647) % below;
    let typed = 0;
    let acknowledged = 0;
    for (let tab = 0; tab < 20; tab++) {
      let alive = true;
      const saving = autosave({
        // a dead tab writes no more, whatever its request still does at the server
        storage: {
          getItem: (key) => localStorage.getItem(key),
          setItem: (key, value) => alive && localStorage.setItem(key, value),
          removeItem: (key) => alive && localStorage.removeItem(key),
        },
        save: async (document, edit) => {
          await new Promise((resolve) => setTimeout(resolve, chance(400)));
          const stored = await server.save(document, edit);
          await new Promise((resolve) => setTimeout(resolve, chance(400)));
          if (alive) acknowledged = Number(document);
          return stored;
        },
      });
      const kept = saving.kept();
      expect(Number(kept?.document ?? server.stored.document)).toBe(typed);
      expect(Number(server.stored.document)).toBeGreaterThanOrEqual(acknowledged);
      if (kept && kept.document !== server.stored.document) saving.change(kept.document);
      else saving.forget();
      for (let edits = 1 + chance(4); edits > 0; edits--) {
        saving.change(String((typed += 1)));
        await vi.advanceTimersByTimeAsync(chance(1_500));
      }
      alive = false;
      saving.dispose();
      await vi.advanceTimersByTimeAsync(2_000); // what was under way arrives or does not
    }
    expect(acknowledged).toBeGreaterThan(10);
  });

  it("overwrites nobody: a newer save of somebody else is a conflict that the person decides", async () => {
    const mine = autosave();
    const theirs = autosave({ key: "other" });
    theirs.change("theirs");
    await theirs.flush();
    mine.change("mine");
    await mine.flush();
    expect(mine.state).toEqual({ kind: "conflict", stored: { edit: 1, document: "theirs" } });
    mine.change("mine again");
    await vi.advanceTimersByTimeAsync(5000);
    expect(server.stored.document).toBe("theirs");
    await mine.keepMine("mine again");
    expect(server.stored).toEqual({ edit: 2, document: "mine again" });

    theirs.change("late");
    await theirs.flush();
    expect(theirs.takeTheirs()).toBe("mine again");
    theirs.change("on top");
    await theirs.flush();
    expect(server.stored).toEqual({ edit: 3, document: "on top" });
  });

  it("recognises its own save whose answer was lost", async () => {
    const saving = autosave();
    server.losesAnswers = true;
    saving.change("x");
    await vi.advanceTimersByTimeAsync(700);
    expect(saving.state.kind).toBe("offline");
    server.losesAnswers = false;
    await vi.advanceTimersByTimeAsync(1100);
    expect([saving.state.kind, saving.edit, server.stored.edit]).toEqual(["saved", 1, 1]);
  });

  it("says why the server refuses and saves again after the next edit", async () => {
    const saving = autosave();
    server.refuses = true;
    saving.change("<eos>");
    await vi.advanceTimersByTimeAsync(60_000);
    expect([server.saves, saving.state]).toEqual([1, { kind: "refused", message: "the text holds <eos>" }]);
    server.refuses = false;
    saving.change("fine");
    await vi.advanceTimersByTimeAsync(700);
    expect(server.stored.document).toBe("fine");
  });

  it("leaves what another tab keeps", async () => {
    const mine = autosave();
    mine.change("mine");
    localStorage.setItem("draft", JSON.stringify({ session: "other", edit: 0, document: "theirs" }));
    await mine.flush();
    expect(mine.kept()?.document).toBe("theirs");
  });

  it("works without storage", async () => {
    const broken = {
      getItem: () => null,
      setItem: () => {
        throw new DOMException("full", "QuotaExceededError");
      },
      removeItem: () => undefined,
    };
    const saving = autosave({ storage: broken });
    saving.change("x");
    await saving.flush();
    expect(server.stored.document).toBe("x");
  });
});

describe("saveText", () => {
  it("is one line", () => {
    expect(saveText({ kind: "saved", at: null }, 0)).toBe("All saved");
    expect(saveText({ kind: "saved", at: 0 }, 1000)).toBe("Saved just now");
    expect(saveText({ kind: "saved", at: 0 }, 4000)).toBe("Saved 4 s ago");
    expect(saveText({ kind: "saved", at: 0 }, 125_000)).toBe("Saved 2 min ago");
    expect(saveText({ kind: "offline", message: "" }, 0)).toContain("Offline");
  });
});
