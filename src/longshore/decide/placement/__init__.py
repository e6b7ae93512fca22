"""Which node a task goes to, and why. Placement is arithmetic: no plugins, no hidden state, no chance.

`ask` says what a task needs, `held` what the tasks of each node hold, `table` what that leaves, `hostports` which ports
of each machine are given out. A filter tells how much room each node has, a policy (`scoring`) which of those that have
some is best; `place` gives every task that is `waiting` the best of them, or has others give way (`displacement`);
`explain` shows the same sums without placing anything.
`alike` is the tasks that ask the same, placed many at once (`bulk`) or in turns with others (`ranking`). `constraints`
stands apart: it reads one node and one text, so that admission and the services controller can ask it too. Equal worlds
give equal answers, to the last bit and on every machine.
"""
