"""Driving by velocities: the grippers go where they are told, within limits, and nothing jumps."""

import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dexvla.act.limits import SafetyLimits
from dexvla.robots.aloha_sim import AlohaSim, scene
from dexvla.robots.aloha_sim.gl import load_mujoco
from dexvla.robots.aloha_sim.teleop import GRIPPER_SPEED, MAX_LINEAR, AlohaTeleop, ArmTwist

mujoco = load_mujoco()  # whoever imports it first decides for the whole process how it renders
STILL = ArmTwist()


class Driver:
    """The simulated robot, driven as the control loop does it."""

    def __init__(self, *, simulated: bool = True) -> None:
        self.teleop = AlohaTeleop()
        self.robot = AlohaSim(cameras=())
        self.robot.connect()
        self.limits = SafetyLimits.for_robot(self.robot.info)
        self.last = self.before = self.robot.observe(images=False).qpos
        self.simulated = simulated
        self.sent = [self.last]
        self.seconds: list[float] = []

    @property
    def measured(self) -> NDArray[np.float32]:
        return self.robot.observe(images=False).qpos if self.simulated else self.last

    def points(self) -> NDArray[np.float64]:
        return self.teleop.pinch_points(self.measured)

    def drive(self, left: ArmTwist, right: ArmTwist = STILL, *, steps: int) -> None:
        for _ in range(steps):
            began = time.thread_time()
            wanted = self.teleop.step(left, right, last_sent=self.last, measured=self.measured)
            self.seconds.append(time.thread_time() - began)
            self._send(self.limits.apply(wanted, last_sent=self.last, before=self.before).action)

    def hold(self, *, steps: int) -> None:
        self.teleop.release()
        for _ in range(steps):
            self._send(self.limits.brake(last_sent=self.last, before=self.before).action)

    def _send(self, action: NDArray[np.float32]) -> None:
        if self.simulated:
            action = self.robot.act(action)
        self.before, self.last = self.last, action
        self.sent.append(action)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_linear_velocity_moves_that_gripper_along_that_axis_of_the_robot(axis: int) -> None:
    driver = Driver()
    velocity = np.zeros(3)
    velocity[axis] = -0.15 if axis == 2 else 0.15
    driver.drive(STILL, steps=5)
    begin = driver.points()
    driver.drive(ArmTwist(linear=tuple(velocity)), steps=50)
    driver.drive(STILL, steps=25)
    moved = driver.points() - begin
    assert moved[0] == pytest.approx(velocity, abs=0.01), "one second at that speed"
    assert moved[1] == pytest.approx(np.zeros(3), abs=0.002), "the other arm stays"


def test_an_angular_velocity_turns_about_the_grippers_own_axis_and_leaves_the_pinch_point() -> None:
    driver = Driver(simulated=False)
    begin = driver.points()
    turned = driver.last.copy()
    driver.drive(STILL, ArmTwist(angular=(1.0, 0.0, 0.0)), steps=50)
    driver.drive(STILL, steps=10)
    assert driver.points() == pytest.approx(begin, abs=0.002)
    change = driver.last - turned
    assert change[12] == pytest.approx(1.0, abs=0.05), "roll is the last joint's alone"
    assert np.abs(np.delete(change, 12)).max() < 0.02
    other = Driver(simulated=False)
    other.drive(STILL, ArmTwist(angular=(0.0, 1.0, 0.0)), steps=25)
    other.drive(STILL, steps=10)
    assert other.points() == pytest.approx(begin, abs=0.002)
    hinges = other.last[[8, 9, 11]].sum() - other.sent[0][[8, 9, 11]].sum()
    assert hinges == pytest.approx(0.5, abs=0.03), "shoulder, elbow and wrist add up to the pitch"


def test_the_gripper_opens_and_closes_at_its_speed_and_stays_at_its_ends() -> None:
    driver = Driver(simulated=False)
    begin = driver.last[6]
    driver.drive(ArmTwist(gripper=1.0), steps=10)
    assert driver.last[6] == pytest.approx(begin + GRIPPER_SPEED * 0.2, abs=0.1), "a little less while it speeds up"
    driver.drive(ArmTwist(gripper=1.0), steps=60)
    assert driver.last[6] == 1.0
    driver.drive(ArmTwist(gripper=-1.0), steps=60)
    assert driver.last[6] == 0.0
    assert driver.last[13] == pytest.approx(driver.sent[0][13])


def test_letting_go_at_full_speed_brakes_and_taking_over_again_does_not_jump() -> None:
    driver = Driver()
    driver.drive(ArmTwist(linear=(0.0, 0.3, 0.1)), steps=30)
    driver.hold(steps=10)
    assert (np.diff(driver.sent[-5:], axis=0) == 0).all(), "at rest"
    held = driver.last
    driver.drive(STILL, steps=20)
    assert np.abs(driver.last - held).max() < 1e-3
    gain = driver.robot.info.max_acceleration / driver.robot.info.control_hz**2
    assert (np.abs(np.diff(driver.sent, n=2, axis=0)) <= gain + 1e-5).all()


def test_what_is_gripped_stays_gripped_when_somebody_takes_over_again() -> None:
    """The command of a gripper that holds something is beyond what is measured."""
    driver = Driver()
    closed, held = driver.last.copy(), driver.measured.copy()
    closed[6], held[6] = 0.0, 0.5
    action = driver.teleop.step(STILL, STILL, last_sent=closed, measured=held)
    assert action[6] == 0.0


def test_an_arm_that_was_pushed_away_is_driven_from_where_it_is() -> None:
    driver = Driver()
    pushed = driver.last.copy()
    pushed[0] += 1.0
    begin = driver.teleop.pinch_points(pushed)
    last = driver.last
    for _ in range(100):
        last = driver.teleop.step(STILL, STILL, last_sent=last, measured=pushed)
    assert driver.teleop.pinch_points(last)[0] == pytest.approx(begin[0], abs=0.005)


def test_nonsense_speeds_are_shortened_to_the_largest_ones() -> None:
    driver = Driver(simulated=False)
    begin = driver.points()[0]
    driver.drive(ArmTwist(linear=(0.0, 1e308, 0.0), angular=(1e308, 1e308, -1e308), gripper=1e9), steps=25)
    assert np.isfinite(driver.last).all()
    assert np.linalg.norm(driver.points()[0] - begin) < 0.5 * MAX_LINEAR + 0.05


def test_a_gripper_at_the_table_stops_says_why_and_turns_back_at_once() -> None:
    driver = Driver(simulated=False)
    driver.drive(ArmTwist(linear=(0.0, 0.0, -0.2)), steps=150)
    lowest = driver.points()[0][2]
    assert lowest > 0.0
    assert "left" in (driver.teleop.why or "")
    driver.drive(ArmTwist(linear=(0.0, 0.0, 0.2)), steps=25)
    assert driver.points()[0][2] > lowest + 0.04
    assert driver.teleop.why is None


def test_wherever_one_drives_limits_hold_and_arms_keep_apart() -> None:
    driver = Driver(simulated=False)
    random = np.random.default_rng(0)

    def anything() -> ArmTwist:
        linear, angular = random.uniform(-0.3, 0.3, 3), random.uniform(-1.5, 1.5, 3)
        return ArmTwist(linear=tuple(linear), angular=tuple(angular), gripper=random.uniform(-1, 1))

    for _ in range(60):
        driver.drive(anything(), anything(), steps=int(random.integers(5, 60)))
    # Both against each other over the middle of the table.
    driver.drive(ArmTwist(linear=(0.3, 0.0, 0.1)), ArmTwist(linear=(-0.3, 0.0, 0.1)), steps=150)
    sent = np.array(driver.sent)
    info = driver.robot.info
    assert (sent >= info.action_low - 1e-4).all()
    assert (sent <= info.action_high + 1e-4).all()
    assert np.abs(np.diff(sent, axis=0)[:, [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]]).max() <= np.pi / 50 + 1e-4
    deepest, touching = _collisions(driver.robot.model, sent)
    assert deepest > -0.008, "commands lead no deeper into the table than it gives way"
    assert not touching
    assert np.percentile(driver.seconds, 99) < 0.02, "a control step"


def _collisions(model: Any, sent: NDArray[np.float32]) -> tuple[float, set[tuple[str, str]]]:
    """How deep the commands lead into the table, metres; and which parts of the two arms, fingers apart, touch."""
    data = mujoco.MjData(model)
    deepest, touching = 0.0, set()
    for joints in sent:
        data.qpos[:16] = scene.controls(joints)
        data.qpos[16:19] = (0.0, 2.0, 0.5)  # the cube out of the way
        mujoco.mj_kinematics(model, data)
        mujoco.mj_collision(model, data)
        for contact in data.contact:
            names = sorted(model.geom(geom).name for geom in contact.geom)
            if "table" in names:
                deepest = min(deepest, contact.dist)
            elif names[0][:8] != names[1][:8] and not all("finger" in name for name in names):
                touching.add((names[0], names[1]))
    return deepest, touching
