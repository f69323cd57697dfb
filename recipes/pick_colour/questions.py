"""Questions about pictures of the scene, with answers: what a backbone learns to see from (`text_data` of stage 2).

    python recipes/pick_colour/questions.py --out QUESTIONS --scenes 3000 --seed 500000

Scenes of level `anywhere`, the arm somewhere on its way to the named cube. "Where is the red cube?" is answered with
its place on the table in centimetres, in the simulator's frame: x 12 y 56. Positions and pictures are rendered, never
taken from demonstrations, and their seeds are neither those of demonstrations nor of evaluations.
"""
