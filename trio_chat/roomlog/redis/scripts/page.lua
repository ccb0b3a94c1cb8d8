-- Some batches of a room. ARGV: room, least and most of their last positions ('-' and '+' are the ends of the history),
-- how many at most, 1 for the newest ones, newest first. Returns them as XRANGE does.
return batches(ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5] == '1')
