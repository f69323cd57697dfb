import { IconPhoto } from "@tabler/icons-react";
import { useState } from "react";

import classes from "./episodes.module.css";

interface Props {
  /** null: a placeholder */
  episodeId: string | null;
  /** width by height */
  ratio?: number;
  width?: number;
}

/** Browsers keep a thumbnail for good, so another address has them ask again: raised when what was kept may be wrong. */
const VERSION = 2;

/** An image from the middle of an episode. Keeps its place while it loads; purely decorative beside the name. */
export function Thumbnail({ episodeId, ratio = 4 / 3, width }: Props) {
  const [broken, setBroken] = useState(false);
  return (
    <div className={classes.thumbnail} style={{ aspectRatio: ratio, width }}>
      {episodeId === null || broken ? (
        <IconPhoto size={28} stroke={1.2} />
      ) : (
        <img
          src={`/api/episodes/${episodeId}/thumbnail?v=${VERSION}`}
          alt=""
          loading="lazy"
          decoding="async"
          onError={() => setBroken(true)}
        />
      )}
    </div>
  );
}
