import { ActionIcon, AppShell, Box, Burger, Group, NavLink, Stack, Text, Tooltip } from "@mantine/core";
import { useDisclosure, useLocalStorage, useMediaQuery } from "@mantine/hooks";
import { IconLayoutSidebarLeftCollapse, IconLayoutSidebarLeftExpand } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useEffect } from "react";
import { Link, Navigate, Outlet, ScrollRestoration, useLocation } from "react-router";

import { events, meQuery } from "@/api/queries";
import "@/ui/clicks";
import { ErrorNote } from "@/ui/ErrorNote";

import { ConnectionState } from "./ConnectionState";
import { isWithin, NAVIGATION } from "./navigation";
import { PageLoading } from "./PageLoading";
import classes from "./Shell.module.css";
import { UserMenu } from "./UserMenu";

/** The frame of every page for people who are signed in; others are sent to sign in and come back. */
export function Shell() {
  const { data: me, error, refetch } = useQuery(meQuery);
  const location = useLocation();
  const signedIn = me?.user != null;

  useEffect(() => {
    if (!signedIn) return;
    events.start();
    return () => events.stop();
  }, [signedIn]);

  if (!me && error)
    return (
      <Box maw={560} mx="auto" mt="15vh" px="md">
        <ErrorNote error={error} retry={() => void refetch()} />
      </Box>
    );
  if (!me) return <PageLoading />;
  if (!me.user) {
    const here = location.pathname + location.search;
    return <Navigate to={here === "/" ? "/sign-in" : `/sign-in?next=${encodeURIComponent(here)}`} replace />;
  }
  return <Frame me={me.user} />;
}

function Frame({ me }: { me: Parameters<typeof UserMenu>[0]["me"] }) {
  const { pathname } = useLocation();
  const [opened, { toggle, close }] = useDisclosure(false);
  const [collapsed, setCollapsed] = useLocalStorage({
    key: "studio-navbar-collapsed",
    defaultValue: false,
    getInitialValueInEffect: false,
  });
  const small = useMediaQuery("(max-width: 48em)", undefined, { getInitialValueInEffect: false });
  const narrow = collapsed && !small;

  return (
    <AppShell
      padding="lg"
      footer={{ height: 64, collapsed: !small }}
      navbar={{ width: narrow ? 64 : 216, breakpoint: "sm", collapsed: { mobile: !opened } }}
      transitionDuration={120}
    >
      <a href="#main" className={classes.skip}>
        Skip to the content
      </a>
      {/* Within reach of a thumb. Its right side stays empty: on a live page the stop lies there, and so it never comes
          to lie under a finger that has just touched something else. */}
      <AppShell.Footer>
        <Group h="100%" px="sm" gap="xs" wrap="nowrap">
          <Burger opened={opened} onClick={toggle} size="sm" aria-label="Navigation" />
          <Text fw={600} truncate className={classes.name}>
            DexVLA Studio
          </Text>
        </Group>
      </AppShell.Footer>
      <AppShell.Navbar p="xs" className={`${classes.navbar ?? ""} ${narrow ? (classes.narrow ?? "") : ""}`}>
        <Group justify={narrow ? "center" : "space-between"} wrap="nowrap" mb="sm" mih={36} visibleFrom="sm">
          {!narrow && (
            <Group gap={8} wrap="nowrap" pl={6}>
              <img src="/icon.svg" width={26} height={26} alt="" />
              <Text fw={650} size="sm" style={{ whiteSpace: "nowrap" }}>
                DexVLA Studio
              </Text>
            </Group>
          )}
          <Tooltip label={narrow ? "Expand the navigation" : "Collapse the navigation"} position="right">
            <ActionIcon
              variant="subtle"
              color="gray"
              onClick={() => setCollapsed(!collapsed)}
              aria-label={narrow ? "Expand the navigation" : "Collapse the navigation"}
              aria-expanded={!narrow}
              data-testid="nav-collapse"
            >
              {narrow ? <IconLayoutSidebarLeftExpand size={18} /> : <IconLayoutSidebarLeftCollapse size={18} />}
            </ActionIcon>
          </Tooltip>
        </Group>
        <Stack gap={2} component="nav" aria-label="Pages" style={{ flex: 1, overflowY: "auto" }}>
          {NAVIGATION.map((item) => {
            const { to, label, icon: Icon } = item;
            const active = isWithin(pathname, item);
            return (
              <Tooltip key={to} label={label} position="right" disabled={!narrow} openDelay={0}>
                <NavLink
                  component={Link}
                  to={to}
                  onClick={close}
                  active={active}
                  aria-current={active ? "page" : undefined}
                  aria-label={label}
                  label={label}
                  leftSection={<Icon size={19} stroke={1.6} />}
                  className={classes.link}
                  data-testid={`nav-${to === "/" ? "home" : to.slice(1)}`}
                />
              </Tooltip>
            );
          })}
        </Stack>
        <Stack gap={4}>
          <ConnectionState narrow={narrow} />
          <UserMenu me={me} narrow={narrow} />
        </Stack>
      </AppShell.Navbar>
      <AppShell.Main id="main" tabIndex={-1} style={{ outline: "none" }}>
        {/* the images and plots of an episode and of a robot use whatever width there is */}
        <Box maw={/^\/(episodes|live)\//.test(pathname) ? undefined : 1680} mx="auto">
          <Outlet />
        </Box>
      </AppShell.Main>
      <ScrollRestoration />
    </AppShell>
  );
}
