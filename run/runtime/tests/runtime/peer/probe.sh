# Says what this process was given, one item to a line. The same in every runtime, so that two can be compared.
say() { echo "$1: $2"; }
line() { tr '\n' ' ' | sed 's/ *$//'; }
try() { ( "$@" ) >/dev/null 2>&1 && echo yes || echo no; }
append() { echo -n >> "$1"; }

say id "$(id)"
say pwd "$(pwd)"
env | grep -vE '^(PWD|SHLVL|OLDPWD|_)=' | sort | sed -E 's/^([^=]*)=/env \1: /'
for stream in stdin stdout stderr; do say "is $stream" "$(readlink /dev/$stream | sed 's/\[.*//')"; done
say "stdin" "$(readlink /proc/self/fd/0 | sed 's/\[.*//')"
for file in /dev/stdout /dev/stderr /proc/self/fd/1 /proc/self/fd/2 /proc/$$/fd/1; do
    name=$(echo $file | sed "s|^/proc/$$/|/proc/PID/|")
    (echo -n >> $file) 2>/dev/null && say "opens $name" yes || say "opens $name" no
done
for fd in 1 2; do say "owner of fd $fd" "$(stat -L -c '%u %a' /proc/$$/fd/$fd)"; done
say descriptors "$(ls /proc/self/fd | line)"
grep -E '^(Cap|NoNewPrivs|Seccomp:|SigIgn|SigBlk|Groups|Umask)' /proc/self/status | sed 's/:[[:space:]]*/: /; s/ *$//; s/^/status /'
sed 1d /proc/self/limits | grep -vE '^Max (pending signals|msgqueue size|open files|processes)' | sed -E 's/ {2,}/\t/g' | awk -F'\t' '{print "limit " $1 ": " $2 " " $3}'
for path in /dev /dev/* /dev/pts/ptmx /tmp /home/app /srv /srv/app /etc/hosts /etc/hostname /etc/resolv.conf /etc/mtab /proc /sys; do
    [ -e "$path" ] || [ -h "$path" ] || { say "file $path" none; continue; }
    link=$(readlink "$path")
    say "file $path" "$(stat -c '%F %a %u:%g %t:%T' "$path")${link:+ to $link}"
done
awk '$2 ~ "^/(dev|proc|sys)" && $2 !~ "^/sys/fs/cgroup|^/dev/(null|zero|full|random|urandom|tty)$" {print "mount " $2 ": " $3 " " $4}' /proc/mounts | sort
for flag in nosuid nodev noexec; do say "mount / $flag" "$(awk '$2 == "/" {print $4}' /proc/mounts | tr ',' '\n' | grep -c "^$flag$")"; done
say "read-only cgroups" "$(awk '$3 ~ "^cgroup" {print $4}' /proc/mounts | cut -d, -f1 | sort -u | line)"
say "kilobytes of /dev/shm" "$(df -k /dev/shm | tail -1 | awk '{print $2}')"
for name in net/ipv4/ip_unprivileged_port_start net/ipv4/ping_group_range net/ipv4/ip_forward kernel/domainname; do
    say "sysctl $name" "$(tr '\t' ' ' < /proc/sys/$name)"
done
for path in /proc/kcore /proc/keys /proc/timer_list /proc/sysrq-trigger /proc/interrupts /proc/acpi /proc/scsi /proc/asound /proc/bus /proc/fs /proc/irq /proc/latency_stats /proc/sched_debug /proc/timer_stats /proc/sys/kernel/hostname /sys/firmware /sys/kernel/uevent_helper /sys/dev/block /sys/devices/virtual/powercap; do
    [ -e $path ] || continue
    if [ -d $path ]; then shown=$(ls $path 2>/dev/null | wc -l); else shown=$(head -c 1 $path 2>/dev/null | wc -c); fi
    write=no; [ -c $path ] && write=nowhere || { [ -f $path ] && append $path 2>/dev/null && write=yes; }
    [ $shown = 0 ] && say "kernel $path" "shows nothing, writable: $write" || say "kernel $path" "shows something, writable: $write"
done
say hostname "$(hostname)"
say "lines of its name in /etc/hosts" "$(grep -cw "$(hostname)" /etc/hosts)"
say "lines of localhost in /etc/hosts" "$(grep -c '^127.0.0.1[[:space:]].*localhost' /etc/hosts)"
say oom_score_adj "$(cat /proc/self/oom_score_adj)"
for dir in /tmp . /etc /dev/shm /dev/mqueue /home/app; do say "makes a file in $dir" "$(try touch $dir/made-by-probe-$$)"; rm -f $dir/made-by-probe-$$ 2>/dev/null; done
tries() { "/bin/tries-$1" "$2" 2>/dev/null || say "runs $2" no; }
tries plain "a plain program"
tries suid "a set-user program"
tries sgid "a set-group program"
tries cap "a program with a capability"
tries raw "a program with a capability out of bounds"
