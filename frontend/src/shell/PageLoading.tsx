import { Center, Loader } from "@mantine/core";

export function PageLoading() {
  return (
    <Center mih="60vh">
      <Loader type="dots" aria-label="Loading" />
    </Center>
  );
}
