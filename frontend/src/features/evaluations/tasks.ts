/** Tasks of the simulated robot, for people. */
export const TASKS: Record<string, string> = {
  transfer_cube: "Transfer the cube",
  insertion: "Insert the peg",
  pick_colour: "Pick the named cube",
};
