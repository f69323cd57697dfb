import { Button, Code, Group, List, SimpleGrid, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useQuery } from "@tanstack/react-query";

import { fieldsOf, type Schema } from "@/api/client";
import { visionQuery } from "@/features/labels/core/vision";
import { notifyDone } from "@/ui/confirm";
import { ErrorNote } from "@/ui/ErrorNote";
import { Facts } from "@/ui/Facts";
import { Loaded } from "@/ui/Loaded";
import { Section } from "@/ui/Section";

import { useChangeSettings, useSettings } from "./hooks";

export function StudioTab() {
  const settings = useSettings();
  return (
    <Loaded query={settings} lines={5}>
      {(data) => (
        <Stack>
          <PublicUrl key={data.public_url} settings={data} />
          <SimpleGrid cols={{ base: 1, md: 2 }}>
            <Roots
              title="Import roots"
              roots={data.import_roots}
              variable="STUDIO_IMPORT_ROOTS"
              use="Folders below which episodes may be imported into a dataset."
            />
            <Roots
              title="Model roots"
              roots={data.model_roots}
              variable="STUDIO_MODEL_ROOTS"
              use="Folders below which base models and pretrained experts are looked for."
            />
          </SimpleGrid>
          <VisionModel />
          <Section title="This studio">
            <Facts
              span={2}
              facts={[
                ["Version", data.version],
                ["Data folder", <Code key="c">{data.data}</Code>],
              ]}
            />
          </Section>
        </Stack>
      )}
    </Loaded>
  );
}

function PublicUrl({ settings }: { settings: Schema<"StudioSettings"> }) {
  const change = useChangeSettings();
  const form = useForm({
    initialValues: { public_url: settings.public_url ?? "" },
    validate: {
      public_url: (value) =>
        value === "" || /^https?:\/\/[^/\s]+\/?$/.test(value)
          ? null
          : "Scheme and host alone, for example https://studio.example.org",
    },
  });
  const fixed = settings.public_url_from_environment;
  return (
    <Section
      title="Public address"
      description="The address at which browsers reach the studio behind a proxy. Only pages from there may change anything, and links in invitations start with it."
    >
      <form
        onSubmit={form.onSubmit(({ public_url }) =>
          change.mutate(
            { public_url: public_url.trim() || null },
            {
              onSuccess: () => notifyDone("The public address is saved."),
              onError: (error) => form.setErrors(fieldsOf(error)),
            },
          ),
        )}
      >
        <Group align="flex-start">
          <TextInput
            aria-label="Public address"
            placeholder={window.location.origin}
            w={380}
            disabled={fixed}
            data-testid="public-url"
            {...form.getInputProps("public_url")}
          />
          <Button
            type="submit"
            loading={change.isPending}
            disabled={fixed || !form.isDirty()}
            data-testid="public-url-save"
          >
            Save
          </Button>
        </Group>
        {fixed && (
          <Text size="sm" c="dimmed" mt={6}>
            Set by <Code>STUDIO_PUBLIC_URL</Code> on the machine; change it there.
          </Text>
        )}
        <ErrorNote error={form.errors.public_url ? null : change.error} />
      </form>
    </Section>
  );
}

function VisionModel() {
  const vision = useQuery(visionQuery);
  return (
    <Section
      title="Vision-language model"
      description="Proposes substeps from frames when an annotator asks for them. Whatever it says has to be accepted by a person."
      data-testid="vision-model"
    >
      <Loaded query={vision} lines={2}>
        {({ configured, host, model }) =>
          configured ? (
            <Facts
              span={2}
              facts={[
                ["Server", <Code key="server">{host}</Code>],
                ["Model", <Code key="model">{model}</Code>],
              ]}
            />
          ) : (
            <Text size="sm">None is set.</Text>
          )
        }
      </Loaded>
      <Text size="sm" c="dimmed" mt="sm">
        Where images of the robot may be sent is for the administrator of the machine to decide: start the studio with{" "}
        <Code>STUDIO_VISION_URL</Code>, <Code>STUDIO_VISION_MODEL</Code> and, if the server asks for one,{" "}
        <Code>STUDIO_VISION_KEY</Code>. Any server with an OpenAI-compatible API will do.
      </Text>
    </Section>
  );
}

interface RootsProps {
  title: string;
  roots: readonly string[];
  variable: string;
  use: string;
}

function Roots({ title, roots, variable, use }: RootsProps) {
  return (
    <Section title={title} description={use}>
      {roots.length === 0 ? (
        <Text size="sm">None is set.</Text>
      ) : (
        <List size="sm" spacing={4}>
          {roots.map((root) => (
            <List.Item key={root}>
              <Code style={{ overflowWrap: "anywhere" }}>{root}</Code>
            </List.Item>
          ))}
        </List>
      )}
      <Text size="sm" c="dimmed" mt="sm">
        Paths are for the administrator of the machine to decide: start the studio with{" "}
        <Code style={{ overflowWrap: "anywhere" }}>{variable}=/first/folder:/second/folder</Code>.
      </Text>
    </Section>
  );
}
