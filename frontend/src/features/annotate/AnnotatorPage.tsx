import { Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useEffect, useEffectEvent, useMemo, useState, useSyncExternalStore } from "react";
import { useNavigate } from "react-router";

import { ApiError, type Schema } from "@/api/client";
import { queryClient, useCan, useMe } from "@/api/queries";
import { episodeQuery } from "@/features/episodes/hooks";
import { notifyDone, notifyError } from "@/ui/confirm";

import { actionFor } from "./actions";
import classes from "./annotate.module.css";
import { isDraft, publishDraft, saveDraft, saveOutcome, storedOf, type DraftOut } from "./api";
import { Cameras } from "./Cameras";
import { AnnotatorContext, type Annotator } from "./context";
import { Editor } from "./editor";
import { Header } from "./Header";
import { HelpDialog } from "./HelpDialog";
import { MotionPlots } from "./MotionPlots";
import { Notes } from "./Notes";
import { createPlayback } from "./playback";
import { DEFAULT_FPS } from "./player";
import { PublishButton } from "./PublishButton";
import { Revisions } from "./Revisions";
import { SegmentList } from "./SegmentList";
import { annotatorActions } from "./shortcuts";
import { problemsOf } from "./timeline";
import { TimelineBar } from "./TimelineBar";
import { Transport } from "./Transport";
import { follow, whole, zoom } from "./view";
import { VocabularyPanel } from "./VocabularyPanel";

interface Props {
  episode: Schema<"EpisodeDetail">;
  /** as the server has it now; a newer one arrives when somebody saves */
  draft: DraftOut;
}

/** One episode: look at it and label it. Mounted anew for each episode. */
export function AnnotatorPage({ episode, draft }: Props) {
  const navigate = useNavigate();
  const me = useMe();
  const may = useCan("annotator");
  const [pictureError, setPictureError] = useState<unknown>(null);
  const [view, setView] = useState(() => whole(episode.steps));
  const [editing, setEditing] = useState<number | null>(null);
  const [publishing, setPublishing] = useState(false);
  const [helping, { open: help, close: closeHelp }] = useDisclosure(false);

  const [playback] = useState(() => createPlayback(episode, setPictureError));
  const [editor] = useState(
    () =>
      new Editor({
        steps: episode.steps,
        stored: storedOf(draft),
        readOnly: !may,
        save: saveDraft(episode.id),
        outcome: saveOutcome,
        storage: window.localStorage,
        key: `studio-draft-${me?.id ?? ""}-${episode.id}`,
      }),
  );
  const { player, frames } = playback;
  const { content, save } = useSyncExternalStore(editor.subscribe, editor.snapshot);
  const { timeline } = content;

  useEffect(() => {
    player.start();
    return () => {
      player.stop();
      frames.dispose();
    };
  }, [player, frames]);

  // a zoomed view goes along with the playhead
  useEffect(
    () => player.subscribe(() => setView((old) => follow(old, episode.steps, player.state.step))),
    [player, episode.steps],
  );

  useEffect(() => {
    if (editor.restored) notifyDone("Edits that an earlier visit could not save were taken up again.");
    const leave = () => {
      if (document.visibilityState === "hidden") void editor.autosave.flush(true);
    };
    const ask = (event: BeforeUnloadEvent) => {
      if (editor.autosave.unsaved) event.preventDefault();
    };
    const online = () => editor.autosave.retry();
    document.addEventListener("visibilitychange", leave);
    window.addEventListener("pagehide", leave);
    window.addEventListener("beforeunload", ask);
    window.addEventListener("online", online);
    return () => {
      document.removeEventListener("visibilitychange", leave);
      window.removeEventListener("pagehide", leave);
      window.removeEventListener("beforeunload", ask);
      window.removeEventListener("online", online);
      void editor.autosave.flush();
    };
  }, [editor]);

  useEffect(() => editor.adopt(storedOf(draft)), [editor, draft]);

  // N opens the next one without a wait
  const { next_id: next } = episode;
  useEffect(() => {
    if (next !== null) queryClient.query(episodeQuery(next)).catch(() => undefined);
  }, [next]);

  const entries = useMemo(() => {
    const used = timeline.labels.map(({ text }) => text).filter((text) => text !== "");
    return [...new Set([...episode.vocabulary, ...used])];
  }, [episode.vocabulary, timeline]);
  const problems = useMemo(
    () => problemsOf(timeline, episode.vocabulary, episode.fps),
    [timeline, episode.vocabulary, episode.fps],
  );

  /** Whether it is published now. */
  const publish = async (): Promise<boolean> => {
    const error = problems.find(({ level }) => level === "error");
    if (error) {
      notifyError(new Error(`Substep ${error.segment + 1} ${error.message}.`), "Not published");
      player.seek(timeline.boundaries[error.segment] ?? 0);
      return false;
    }
    setPublishing(true);
    try {
      await editor.autosave.flush();
      if (editor.autosave.unsaved) throw new Error("The newest edits could not be saved yet; publish when they are.");
      const published = await publishDraft(episode.id, editor.autosave.edit);
      editor.published(published.edit);
      queryClient.setQueryData(["episode", "annotation", episode.id], published);
      for (const topic of ["episode", "dataset"]) void queryClient.invalidateQueries({ queryKey: [topic] });
      notifyDone(`Published as revision ${published.published?.number ?? ""}.`);
      return true;
    } catch (problem) {
      if (problem instanceof ApiError && problem.status === 409 && isDraft(problem.detail))
        editor.adopt(storedOf(problem.detail));
      notifyError(problem, "Not published");
      return false;
    } finally {
      setPublishing(false);
    }
  };
  const openNeighbour = (direction: 1 | -1) => {
    const id = direction > 0 ? episode.next_id : episode.previous_id;
    if (id === null) notifyDone(direction > 0 ? "This is the last episode." : "This is the first episode.");
    else void navigate(`/episodes/${id}`);
  };

  const annotator: Annotator = {
    episode,
    editor,
    playback,
    entries,
    fps: episode.fps ?? DEFAULT_FPS,
    actions: annotatorActions({
      editor,
      player,
      entries: () => entries,
      editText: setEditing,
      openNeighbour,
      publishAndNext: () => void publish().then((done) => done && episode.next_id !== null && openNeighbour(1)),
      zoom: (factor) =>
        setView((old) =>
          factor === null ? whole(episode.steps) : zoom(old, episode.steps, factor, player.state.step + 0.5),
        ),
      help,
    }),
  };

  const onKey = useEffectEvent((event: KeyboardEvent) => {
    const action = actionFor(annotator.actions, event);
    if (!action) return;
    // also when it cannot be done now: Backspace and Ctrl+arrows mean something else to browsers
    event.preventDefault();
    if (action.enabled?.() ?? true) action.perform();
  });
  useEffect(() => {
    const listener = (event: KeyboardEvent) => onKey(event);
    // a button that was clicked must not take the next Space
    const keepFocus = (event: MouseEvent) => {
      if (event.target instanceof Element && event.target.closest(`.${classes.page ?? ""} button`))
        event.preventDefault();
    };
    window.addEventListener("keydown", listener);
    window.addEventListener("mousedown", keepFocus);
    return () => {
      window.removeEventListener("keydown", listener);
      window.removeEventListener("mousedown", keepFocus);
    };
  }, []);

  const current = draft.published !== null && draft.label_state === "published" && save.kind === "saved";
  return (
    <AnnotatorContext value={annotator}>
      <div className={classes.page} data-testid="annotator" data-episode={episode.id}>
        <header className={classes.header}>
          <Header
            actions={
              <>
                <Revisions published={draft.published} />
                <PublishButton problems={problems} current={current} busy={publishing} publish={() => void publish()} />
              </>
            }
          />
        </header>
        <div className={classes.notes}>
          <Notes pictureError={pictureError} storedBy={draft.updated_by_name} storedAt={draft.updated_at} />
        </div>
        <div className={classes.main}>
          <Cameras />
          <Transport />
          <TimelineBar view={view} setView={setView} editText={setEditing} />
          <MotionPlots view={view} />
        </div>
        <aside className={classes.side}>
          <VocabularyPanel />
          <section className={classes.panel} style={{ flex: "1 1 0" }} aria-label="Substeps">
            <div className={classes.panelHead}>
              <Text size="sm" fw={600}>
                Substeps
              </Text>
              <Text size="xs" c="dimmed">
                {timeline.labels.length}
              </Text>
            </div>
            <div className={classes.scroll}>
              <SegmentList editing={editing} setEditing={setEditing} problems={problems} />
            </div>
          </section>
        </aside>
      </div>
      <HelpDialog opened={helping} onClose={closeHelp} actions={annotator.actions} />
    </AnnotatorContext>
  );
}
