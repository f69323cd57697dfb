import { Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";

import type { Schema } from "@/api/client";
import { queryClient, useCan, useMe } from "@/api/queries";
import { episodeQuery } from "@/features/episodes/core/hooks";
import { EpisodeDetails } from "./EpisodeDetails";
import { GuidelinePanel } from "./GuidelinePanel";
import { TrailBar } from "./TrailBar";
import { useTrail } from "./useTrail";
import { NotesPanel } from "./NotesPanel";
import { ReviewBar } from "./ReviewBar";
import { DoublesBar } from "./DoublesBar";
import { useApprove, useSecondLabels } from "./judging";

import { bound } from "./actions";
import classes from "./annotate.module.css";
import { saveDraft, saveOutcome, storedOf, type About, type DraftOut } from "./api";
import { Cameras } from "./Cameras";
import { NO_CANDIDATES } from "./candidates";
import { AnnotatorContext, useEditorState, usePlayer, type Annotator } from "./context";
import { CutSettings } from "./CutSettings";
import { Editor } from "./editor";
import { FindText } from "./FindText";
import { Header } from "./Header";
import { HelpDialog } from "./HelpDialog";
import { useKeyboard } from "./keyboard";
import { cutStep, labelHere, labelSegment, type LabellingParts } from "./labelling";
import type { OtherLabels } from "./Lanes";
import { LAYOUTS } from "./layout";
import { LeaseBar } from "./LeaseBar";
import { usePlayback, useSaving } from "./lifecycle";
import { MotionPlots } from "./MotionPlots";
import { Notes } from "./Notes";
import { magnify, nextCamera, panStep, WHOLE } from "./cameraView";
import { CameraSettings } from "./CameraSettings";
import { createPlayback } from "./playback";
import { DEFAULT_FPS } from "@/features/labels/core/fps";
import { ProposalBar } from "./ProposalBar";
import { PublishButton } from "./PublishButton";
import { Revisions } from "./Revisions";
import { SegmentList } from "./SegmentList";
import { annotatorActions } from "./shortcuts";
import { StepNumber } from "./StepNumber";
import { candidatesQuery } from "./proposalApi";
import { problemsOf, segmentAt, toSegments } from "@/features/labels/core/timeline";
import { TimelineBar } from "./TimelineBar";
import { Transport } from "./Transport";
import { useCommands } from "./useCommands";
import { useLease, type Token } from "./useLease";
import { changePreferences, usePreferences } from "./usePreferences";
import { useProposing } from "./useProposing";
import { follow, pixelView, whole, zoom } from "./view";
import { VocabularyPanel } from "./VocabularyPanel";

interface Props {
  episode: Schema<"EpisodeDetail">;
  about: About;
  /** as the server has it now; a newer one arrives when somebody saves */
  draft: DraftOut;
}

/** One episode: look at it and label it. Mounted anew for each episode, tier and rater. */
export function AnnotatorPage({ episode, about, draft }: Props) {
  const candidates = useQuery(candidatesQuery(episode.id)).data ?? NO_CANDIDATES;
  const me = useMe();
  const may = useCan("annotator");
  const preferences = usePreferences();
  const [frameError, setFrameError] = useState<unknown>(null);
  const [view, setView] = useState(() => whole(episode.steps));
  const [cameraView, setCameraView] = useState(WHOLE);
  const [editing, setEditing] = useState<number | null>(null);
  const [finding, setFinding] = useState<{ at: number; resume: boolean } | null>(null);
  const [looking, setLooking] = useState(false);
  const [asking, setAsking] = useState(false);
  const [commenting, setCommenting] = useState(false);
  const [detailed, { open: openDetails, close: closeDetails }] = useDisclosure(false);
  const [guided, { toggle: toggleGuideline, close: closeGuideline }] = useDisclosure(false);
  const [helping, { open: help, close: closeHelp }] = useDisclosure(false);
  const timelinePixels = useRef(0);
  const fps = episode.fps ?? DEFAULT_FPS;
  const [token] = useState<Token>(() => ({ current: null }));
  const locked = may ? draft.read_only : "Labelling needs the role annotator. An administrator can give it to you.";

  const [playback] = useState(() => createPlayback(episode, setFrameError));
  const [editor] = useState(
    () =>
      new Editor({
        steps: episode.steps,
        stored: storedOf(draft),
        readOnly: locked !== null,
        save: saveDraft(episode.id, about, token),
        outcome: saveOutcome,
        storage: window.localStorage,
        key: ["studio-draft", me?.id ?? "", episode.id, ...beside(about)].join("-"),
      }),
  );
  const lease = useLease(draft, editor, token);
  const { player } = playback;
  const { content, save } = useSyncExternalStore(editor.subscribe, editor.snapshot);
  const { timeline } = content;
  usePlayback(playback);
  useSaving(editor);
  useEffect(() => editor.adopt(storedOf(draft)), [editor, draft]);
  useEffect(() => editor.lock(locked !== null), [editor, locked]);

  // a zoomed view goes along with the playhead
  const following = preferences.follow;
  useEffect(() => {
    if (!following) return;
    return player.subscribe(() => setView((old) => follow(old, episode.steps, player.state.step)));
  }, [player, episode.steps, following]);

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
  const second = useSecondLabels(episode.id, about);
  const others = useMemo(
    () => [...publishedBeside(draft, timeline), ...(second ? [labelsOf(second)] : [])],
    [draft, timeline, second],
  );
  const { on: trail, go: openStop } = useTrail(episode.id, player);
  const proposing = useProposing({ episode, editor, candidates, preferences, fps, cameraView });
  const commands = useCommands({ episode, about, editor, playback }, draft, problems, proposing.judgeGiven);
  const reviewing = draft.may_review && commands.reviewed;

  const approving = useApprove(episode.id, about, () => trail && openStop(1));
  const approve = () => approving.mutate(draft.edit);

  const labelling: LabellingParts = {
    editor,
    player,
    cutting: () => ({ ...preferences, fps, candidates }),
  };
  const findText = () => {
    // what is cut is where one was when one began to type
    setFinding({ at: cutStep(labelling), resume: player.state.playing });
    player.pause();
  };
  const actions = annotatorActions({
    ...labelling,
    entries: () => entries,
    editText: setEditing,
    findText,
    copyNearest: () => void proposing.copyNearest(),
    proposeTemplate: () => void proposing.proposeTemplate(),
    askModel: () => void proposing.askModel(),
    acceptAbove: () => preferences.acceptAbove,
    openNeighbour: commands.openNeighbour,
    openStop: trail && openStop,
    publishAndNext: () => (reviewing ? approve() : void commands.publishAndNext(trail && openStop)),
    details: openDetails,
    reviewing,
    comment: may ? () => setCommenting(true) : null,
    help,
    view: {
      zoom: (factor) =>
        setView((old) =>
          factor === null ? whole(episode.steps) : zoom(old, episode.steps, factor, player.state.step + 0.5),
        ),
      zoomToPixels: () => setView(() => pixelView(episode.steps, timelinePixels.current, player.state.step)),
      toggleFollow: () => changePreferences({ follow: !preferences.follow }),
      toggleSnap: () => changePreferences({ snap: !preferences.snap }),
      nextLayout: () => {
        const place = LAYOUTS.indexOf(preferences.layout);
        changePreferences({ layout: LAYOUTS[(place + 1) % LAYOUTS.length] });
      },
      nextCamera: () => setCameraView((old) => nextCamera(old, episode.cameras.length)),
      magnify: () => setCameraView(magnify),
      pan: (x, y) => setCameraView((old) => panStep(old, x, y)),
      cameraSettings: () => setLooking(true),
      goToStep: () => setAsking(true),
      guideline: toggleGuideline,
    },
  });
  const annotator: Annotator = {
    episode,
    about,
    locked,
    editor,
    playback,
    labelling,
    entries,
    fps,
    preferences,
    cameraView,
    setCameraView,
    candidates,
    actions: bound(actions, preferences.keys),
  };
  useKeyboard(annotator.actions, `.${classes.page ?? ""}`);

  const current = draft.published !== null && draft.label_state === "published" && save.kind === "saved";
  return (
    <AnnotatorContext value={annotator}>
      <div className={classes.page} data-testid="annotator" data-episode={episode.id}>
        <header className={classes.header}>
          <TrailBar on={trail} go={openStop} />
          {(commands.reviewed || about.rater > 0) && (
            <ReviewBar draft={draft} approve={approve} approving={approving.isPending} />
          )}
          <Header
            actions={
              <>
                <Revisions published={draft.published} />
                <PublishButton
                  problems={problems}
                  current={current}
                  busy={commands.publishing}
                  review={commands.review}
                  publish={() => void commands.publish()}
                />
              </>
            }
          />
        </header>
        <div className={classes.notes}>
          <LeaseBar draft={draft} lease={lease} />
          {second && <DoublesBar draft={draft} second={second} />}
          <Notes
            takeOver={lease.takeOver}
            frameError={frameError}
            storedBy={draft.updated_by_name}
            storedAt={draft.updated_at}
          />
        </div>
        <div className={classes.main}>
          <Cameras />
          <Transport
            stepNumber={<StepNumber asking={asking} setAsking={setAsking} />}
            settings={
              <>
                <CameraSettings opened={looking} onChange={setLooking} />
                <CutSettings />
              </>
            }
          />
          <ProposalBar />
          <TimelineBar
            view={view}
            setView={setView}
            editText={setEditing}
            others={others}
            measured={(pixels) => (timelinePixels.current = pixels)}
          />
          <MotionPlots view={view} />
        </div>
        <aside className={classes.side} aria-label="Labels">
          {guided ? (
            <Guideline
              episode={episode}
              tier={about.tier}
              player={player}
              only={cameraView.only}
              close={closeGuideline}
            />
          ) : (
            <VocabularyPanel />
          )}
          <NotesPanel draft={draft} asked={reviewing} writing={commenting} setWriting={setCommenting} />
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
      <EpisodeDetails opened={detailed} onClose={closeDetails} />
      <FindText
        opened={finding !== null}
        entries={entries}
        onClose={() => {
          setFinding(null);
          if (finding?.resume) player.play();
        }}
        onChoose={(text, cut) => (cut ? labelHere : labelSegment)(labelling, text, finding?.at)}
      />
      <HelpDialog opened={helping} onClose={closeHelp} actions={annotator.actions} bindings={preferences.keys} />
    </AnnotatorContext>
  );
}

/** Other labels than those that everybody works on are kept in the browser under a name of their own. */
function beside({ tier, rater }: About): string[] {
  return [...(tier === "substep" ? [] : [tier]), ...(rater === 0 ? [] : [`rater${rater}`])];
}

interface GuidelineProps {
  episode: Props["episode"];
  tier: About["tier"];
  player: Annotator["playback"]["player"];
  /** the camera that is shown alone */
  only: number | null;
  close: () => void;
}

/** In the place of the vocabulary: the same texts in the same order, with what they mean. */
function Guideline({ episode, tier, player, only, close }: GuidelineProps) {
  const { timeline } = useEditorState().content;
  const text = usePlayer(({ step }) => timeline.labels[segmentAt(timeline, step)]?.text ?? "");
  const cameras = episode.cameras.map(({ name }) => name);
  return (
    <GuidelinePanel
      datasetId={episode.dataset_id}
      tier={tier}
      cameras={cameras}
      text={text}
      here={() => ({
        episode_id: episode.id,
        step: player.state.step,
        camera: (only === null ? cameras[0] : cameras[only]) ?? null,
      })}
      close={close}
    />
  );
}

/** The second person's labels as a lane. */
function labelsOf({ submitted_by_name, segments }: DraftOut): OtherLabels {
  return { name: submitted_by_name ?? "second", segments };
}

/** The newest published revision as a lane, while the draft says something else. */
function publishedBeside(draft: DraftOut, timeline: Editor["timeline"]): OtherLabels[] {
  if (!draft.published) return [];
  const plain = (segments: OtherLabels["segments"]) =>
    JSON.stringify(segments.map(({ start, end, text }) => [start, end, text]));
  const { number, segments } = draft.published;
  return plain(segments) === plain(toSegments(timeline)) ? [] : [{ name: `rev. ${number}`, segments }];
}
