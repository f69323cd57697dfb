import { ActionIcon, Button, FileButton, Group, Select, TextInput, Tooltip } from "@mantine/core";
import { IconDownload, IconTrash, IconUpload } from "@tabler/icons-react";
import { useRef, useState } from "react";

import { ask, confirm } from "@/ui/confirm";
import { ErrorNote } from "@/ui/ErrorNote";
import { focusOn } from "@/ui/focus";

import { useDeleteProfile, useProfiles, useReadProfile, useSaveProfile } from "./hooks";
import { EMPTY, sameProfile, type Profile } from "./profile";

/** Answers that were kept under a name: picked, saved, taken to another machine, deleted. */
export function ProfileBar({ profile, onChange }: { profile: Profile; onChange: (profile: Profile) => void }) {
  const profiles = useProfiles(true);
  const save = useSaveProfile();
  const remove = useDeleteProfile();
  const read = useReadProfile();
  const [picked, setPicked] = useState<string | null>(null);
  const [name, setName] = useState<string | null>(null);
  const stored = profiles.data?.find(({ id }) => id === picked);
  const changed = !sameProfile(profile, stored?.profile ?? EMPTY);
  const kept = [EMPTY, ...(profiles.data ?? []).map((one) => one.profile)];
  /** Other answers in the place of these, which may be kept nowhere. */
  const replace = async (to: Profile, id: string | null) => {
    const lost = !sameProfile(profile, to) && !kept.some((one) => sameProfile(one, profile));
    if (
      lost &&
      !(await ask({
        title: "Give up these answers?",
        children: "They are saved in no profile. Save keeps them, under a name if you like.",
        confirm: "Give them up",
      }))
    )
      return;
    setPicked(id);
    onChange(to);
  };
  const reset = useRef<() => void>(null);
  return (
    <div>
      <Group align="flex-end" gap="xs">
        <Select
          label="Profile"
          placeholder="None: as the files say"
          data={(profiles.data ?? []).map((one) => ({ value: one.id, label: one.name }))}
          value={picked}
          clearable
          searchable
          onChange={(id) => {
            void replace(profiles.data?.find((one) => one.id === id)?.profile ?? EMPTY, id);
          }}
          w={260}
          data-testid="import-profile"
        />
        {stored && changed && (
          <Button
            variant="default"
            loading={save.isPending}
            onClick={() => save.mutate({ id: stored.id, name: stored.name, profile })}
            data-testid="import-profile-save"
          >
            Save
          </Button>
        )}
        {name === null ? (
          <Button variant="default" onClick={() => setName("")} data-testid="import-profile-save-as">
            Save as
          </Button>
        ) : (
          <form
            onSubmit={(event) => {
              event.preventDefault();
              save.mutate(
                { id: null, name, profile },
                {
                  onSuccess: ({ id }) => {
                    setPicked(id);
                    setName(null);
                  },
                },
              );
            }}
          >
            <Group gap="xs" align="flex-end">
              <TextInput
                label="Its name"
                value={name}
                maxLength={128}
                required
                ref={focusOn}
                onChange={(event) => setName(event.currentTarget.value)}
                data-testid="import-profile-name"
              />
              <Button type="submit" loading={save.isPending} data-testid="import-profile-create">
                Save
              </Button>
              <Button variant="subtle" color="gray" onClick={() => setName(null)}>
                Cancel
              </Button>
            </Group>
          </form>
        )}
        <FileButton
          accept=".yaml,.yml,.json"
          resetRef={reset}
          onChange={(file) => {
            if (file) read.mutate(file, { onSuccess: (found) => void replace(found.profile, null) });
            reset.current?.(); // the same file is a choice again, after it was mended
          }}
          inputProps={{ "data-testid": "import-profile-file" } as never}
        >
          {(props) => (
            <Tooltip label="Read a profile from a file (YAML, as dexvla import --profile takes it)">
              <ActionIcon {...props} variant="default" size={36} aria-label="Read a profile from a file">
                <IconUpload size={16} />
              </ActionIcon>
            </Tooltip>
          )}
        </FileButton>
        {stored && (
          <>
            <Tooltip label="Download it as YAML, for dexvla import --profile">
              <ActionIcon
                component="a"
                href={`/api/import/profiles/${stored.id}/file`}
                download
                variant="default"
                size={36}
                aria-label={`Download the profile ${stored.name}`}
                data-testid="import-profile-download"
              >
                <IconDownload size={16} />
              </ActionIcon>
            </Tooltip>
            <Tooltip label="Delete it">
              <ActionIcon
                variant="default"
                size={36}
                aria-label={`Delete the profile ${stored.name}`}
                onClick={() =>
                  confirm({
                    title: `Delete the profile "${stored.name}"?`,
                    children: "What was imported with it stays as it is.",
                    confirm: "Delete the profile",
                    action: async () => {
                      await remove.mutateAsync(stored.id);
                      setPicked(null);
                    },
                  })
                }
                data-testid="import-profile-delete"
              >
                <IconTrash size={16} />
              </ActionIcon>
            </Tooltip>
          </>
        )}
      </Group>
      <ErrorNote error={save.error ?? read.error ?? profiles.error} />
    </div>
  );
}
