# perl: hashes, regular expressions, sorting, files, forks, pipes in both directions.
use strict; use warnings; $| = 1;
my %count; $count{$_ % 101}++ for 1 .. 50000; print join(",", map { "$_=$count{$_}" } (sort { $a <=> $b } keys %count)[0, 50, 100]), "\n";
my $text = join " ", map { "word$_" } 1 .. 2000; my @m = $text =~ /word(\d*7)\b/g; print scalar(@m), " $m[-1]\n";
(my $t = $text) =~ s/word(\d+)/$1 % 2 ? "odd" : "even"/ge; print length($t), " ", ($t =~ tr/o//), "\n";
my $file = "/tmp/perl.$$"; open(my $f, ">", $file) or die; printf $f "%d %s\n", $_, scalar reverse $_ for 1 .. 1000; close $f;
open($f, "<", $file) or die; my @lines = sort { (split ' ', $a)[1] <=> (split ' ', $b)[1] || $a cmp $b } <$f>; close $f; print -s $file, " $lines[0]$lines[-1]"; unlink $file;
my @kids; for my $k (1 .. 8) { pipe(my $r, my $w); my $p = fork(); if (!$p) { close $r; print $w join(",", map { $_ * $k } 1 .. 5); exit $k } close $w; push @kids, [$p, $r] }
for (@kids) { my ($p, $r) = @$_; my $l = <$r>; waitpid $p, 0; print "$l:", $? >> 8, " " } print "\n";
open(my $in, "|-", "sort -n | head -2") or die; print $in "$_\n" for reverse 1 .. 100; close $in; print `echo back | tr a-z A-Z`;
local $SIG{ALRM} = sub { die "alarm\n" }; eval { alarm 1; select undef, undef, undef, 5; }; print $@; my $s = "x" x 3_000_000; my $p = fork(); if (!$p) { substr($s, 0, 1) = "y"; exit(substr($s, 0, 1) eq "y" ? 5 : 6) } waitpid $p, 0; print $? >> 8, substr($s, 0, 1), "\n";
print sprintf("%.10g %b %o %e", atan2(1, 1) * 4, 10, 64, 12345.678), " ", join("|", unpack("A3 n C", pack("A3 n C", "abc", 258, 7))), " ", scalar(gmtime(0)), "\n"; printf "%s\n", join ",", grep { !($_ & 1) } map { $_ ** 2 } 1 .. 6;
