"""Ctrl-C, SIGTERM, and what a terminal sees."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unittest

from harness import FERRY, CliTest

SLOW = {"FERRY_FAKE_MODE": "slow_build"}
BUILD = ("build", "n.onnx", "-o", "n.plan", "--backend", "fake")
COLOR = re.compile(r"\x1b\[\d+m")


class Interrupt(CliTest):
    def setUp(self):
        super().setUp()
        self.ferry("export", self.narrow(), "-o", "n.onnx")

    def interrupt(self, *signals, env=SLOW):
        """Starts a slow build, sends the signals while it builds, returns exit code and stderr."""
        process = self.start(*BUILD, env=env)
        self.assertIn("building", process.stderr.readline())
        time.sleep(0.3)
        self.assertIsNone(process.poll(), "the slow build ended too early")
        begin = time.monotonic()
        for number in signals:
            process.send_signal(number)
        _, err = process.communicate(timeout=30)
        self.assertLess(time.monotonic() - begin, 4, "it did not stop on request")
        return process.returncode, err

    def check_nothing_left(self):
        self.assertFalse((self.folder / "n.plan").exists())
        self.assertFalse((self.folder / "n.plan.json").exists())
        self.assertEqual([], self.left_behind())

    def test_one_signal_stops_cleanly(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            code, err = self.interrupt(number)
            self.assertEqual(130, code, err)
            self.assertRegex(err, "interrupted|cancel")
            self.check_nothing_left()

    def test_two_signals_stop_at_once_and_leave_nothing(self):
        code, err = self.interrupt(signal.SIGINT, signal.SIGINT)
        self.assertEqual(130, code, err)
        self.check_nothing_left()

    def test_compare_writes_no_result(self):
        process = self.start("compare", "n.onnx", "--backends", "fake", "--runs", 100000, "--batch", 1, "--json", "r.json")
        self.assertTrue(any("measuring" in line for line in process.stderr))
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        self.assertEqual(130, process.wait(timeout=30))
        self.assertFalse((self.folder / "r.json").exists())
        process.stdout.close()
        process.stderr.close()


class Terminal(CliTest):
    def on_terminal(self, *arguments, columns=80, env=None):
        """What the command writes to a terminal of this width."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen([FERRY, *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs,
                                   cwd=self.folder, env={**self.environment, **(env or {})})
        os.close(theirs)
        text = b""
        while True:
            ready, _, _ = select.select([ours], [], [], 120)
            self.assertTrue(ready, "nothing for two minutes")
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # the terminal is closed: the process ended
                break
            if not chunk:
                break
            text += chunk
        os.close(ours)
        self.assertEqual(0, process.wait(timeout=30), text)
        return text.decode(errors="replace")

    def setUp(self):
        super().setUp()
        self.ferry("export", self.narrow(), "-o", "n.onnx")

    def test_a_bar_that_keeps_to_the_width_and_goes_away(self):
        text = self.on_terminal(*BUILD, columns=60, env=SLOW)
        bars = [line for line in re.split(r"[\r\n]", text) if "%" in line]
        self.assertGreater(len(bars), 5)
        self.assertTrue(any("eta" in line for line in bars))
        for line in bars:
            self.assertLess(len(re.sub(r"\x1b\[\d*[A-Za-z]", "", line)), 60)
        self.assertNotIn("%", text.rsplit("\r\x1b[K", 1)[1].split("\n", 1)[0])

    def test_colour_on_a_terminal_unless_no_color_says_otherwise(self):
        self.assertRegex(self.on_terminal("inspect", "n.onnx"), COLOR)
        self.assertNotRegex(self.on_terminal("inspect", "n.onnx", env={"NO_COLOR": "1"}), COLOR)
        self.assertNotRegex(self.on_terminal("inspect", "n.onnx", env={"TERM": "dumb"}), COLOR)

    def test_quiet_shows_no_bar(self):
        self.assertNotIn("%", self.on_terminal(*BUILD, "--quiet", env=SLOW))


if __name__ == "__main__":
    unittest.main()
