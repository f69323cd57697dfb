import { PageHeader } from "@/ui/PageHeader";

export default function Feature() {
  return <PageHeader title="Checkpoints" />;
}
