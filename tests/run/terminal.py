"""terminal.py COLUMNS PROMPT COMMAND…: runs COMMAND on a terminal of so many columns and prints what it shows. What comes on
stdin is typed, all at once, when PROMPT is there."""

import fcntl, os, pty, struct, sys, termios

columns, prompt, command = int(sys.argv[1]), sys.argv[2].encode(), sys.argv[3:]
typed = sys.stdin.buffer.read()
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    os.execvp(command[0], command)
shown = b""
while True:
    if typed and prompt in shown:
        os.write(terminal, typed)
        typed = b""
    try:
        some = os.read(terminal, 4096)
    except OSError:  # the end, as Linux says it
        break
    if not some:
        break
    shown += some
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
