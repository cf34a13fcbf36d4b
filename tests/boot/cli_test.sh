#!/bin/bash
# Runs the program as people and scripts do: options, exit statuses, streams, signals, terminals.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

gnomon=${GNOMON_BINARY:-build/release/gnomon}
[[ $gnomon == /* ]] || gnomon=$PWD/$gnomon
command -v as >/dev/null && command -v ld >/dev/null || {
    echo "no assembler: skipped"
    exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export guests=$work
# shellcheck source=tests/boot/guests.sh
. tests/boot/guests.sh
small_guests || exit 1
cd "$work" || exit 1

failed=0
number=0

# report <0 or not> <name>
report() {
    number=$((number + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $number - $2"
    else
        failed=$((failed + 1))
        echo "not ok $number - $2"
        for file in out err log; do
            [ ! -s "$file" ] || { echo "# $file:"; head -c 3000 "$file" | sed 's/^/#   /'; }
        done
    fi
}

# run <guest> <options...>: flat guests by their width; output in out and err, status in $status.
run() {
    local guest=$1 entry=flat16
    shift
    case $guest in
    triple | gap | busy) entry=flat64 ;;
    triple32) entry=flat32 ;;
    esac
    rm -f log
    timeout 60 "$gnomon" -kernel "$guest.bin" -machine "pc,kernel-entry=$entry" "$@" \
        >out 2>err </dev/null
    status=$?
}

# ends <status> <name> <guest> <options...>
ends() {
    local wanted=$1 name=$2
    shift 2
    run "$@"
    [ "$status" -eq "$wanted" ]
    report $? "$name: status $status, wanted $wanted"
}

# shows <text> <file> [<name>]: the file of the last run holds the text.
shows() {
    grep -qF -- "$1" "$2"
    report $? "${3:-$2 holds '$1'}"
}

# refused <text> <options...>: status 2, the text in the message, and nothing on standard output.
refused() {
    local text=$1
    shift
    timeout 20 "$gnomon" "$@" >out 2>err </dev/null
    status=$?
    [ "$status" -eq 2 ] && [ ! -s out ] && grep -qF -- "$text" err
    report $? "refused: $*"
}

test_statuses() {
    ends 0 "power-off" hello -nographic
    shows hello out
    [ ! -s err ]
    report $? "a power-off says nothing"
    ends 0 "reset with -no-reboot" reset -nographic -no-reboot
    shows "gnomon: the guest asked for a reset" err
    ends 67 "isa-debug-exit" debug_exit -nographic -device isa-debug-exit,iobase=0xf4,iosize=0x04
    ends 42 "exit port" exit_port -nographic -device gnomon-exit
    ends 3 "panic" panic -nographic -device pvpanic
    ends 9 "triple fault, 64-bit" triple -nographic
    ends 9 "triple fault, 32-bit" triple32 -nographic
    shows "protected" err
    ends 9 "triple fault, 16-bit" triple16 -nographic
    shows "real" err
    ends 8 "missing instruction" gap -nographic
    shows "not implemented: c4 e2 73 5e" err
    ends 10 "endless sleep" halt -nographic
    ends 4 "--timeout" spin -nographic --timeout 0.2
    shows "gnomon: the time given by --timeout is over, at 0x7c0" err
    ends 5 "--guest-timeout, instructions" spin -nographic --guest-timeout 1000i
    ends 5 "--guest-timeout, instructions in deterministic mode" spin -nographic -icount 0 \
        --guest-timeout 1e6
    shows "INSNS=1000000" err
    ends 5 "--guest-timeout, time" ticks -nographic --guest-timeout 200ms
    ends 5 "--guest-timeout, an hour slept away" ticks -nographic -icount auto --guest-timeout 1h
    ends 9 "triple fault, told twice" triple -nographic -machine triple-fault=exit
    ends 5 "triple faults that reset" triple -nographic -machine triple-fault=reset \
        --guest-timeout 100000i
}

# The report of a guest that died.
test_reports() {
    run triple -nographic
    shows "RBX=0000008000001234" err
    shows "#PF error 2 at 100011" err
    shows "while delivering #DF" err
    shows "write of 0x8000001234, supervisor, paging 4-level: not present" err
    shows "level 4 at" err
    shows "mov byte ptr [rbx], 1" err "instructions are disassembled"
    shows "lidt" err
    run triple -nographic -symbols triple.elf
    shows "bad_store+0" err "names of an ELF file"
    printf '%s\n' "0000000000100000 T image" "0000000000100011 T culprit" >System.map
    run triple -nographic -symbols System.map
    shows ", at 0x100011 culprit+0" err "names of a System.map"
    run triple32 -nographic
    shows "mov esi, 0x12345678" err "32-bit code"
    run triple16 -nographic
    shows "mov di, 0x4321" err "16-bit code"
    run spin -nographic -icount 0 --guest-timeout 1e6
    shows "64 times" err "a loop is shown once"
    run spin -nographic --silence 0.2 --timeout 1
    shows "no output for 0.2 s (--silence)" err "silence is told"
    [ "$(grep -c 'no output' err)" -eq 1 ]
    report $? "silence is told once"
    run spin -nographic --silence 0 --timeout 0.5
    ! grep -q 'no output' err
    report $? "--silence 0 says nothing"
}

test_log() {
    local item
    for item in int in_asm exec cpu cpu_reset guest_errors unimp mmu loader device; do
        run busy -nographic -icount 0 -d "$item" -D log
        [ "$status" -eq 0 ] && [ -s log ] && [ ! -s err ]
        report $? "-d $item -D log writes to the file only"
    done
    run busy -nographic -icount 0 -d int,exec -D log
    shows "exception 6" log
    run busy -nographic -d in_asm
    shows "ud2" err "-d without -D goes to standard error, disassembled"
    run busy -nographic -icount 0 -d cpu -D log
    shows "RIP=0000000000100000" log
    run busy -nographic -d guest_errors -D log
    shows "0x999" log
    run busy -nographic -d unimp -D log
    shows "not implemented" log
    run busy -nographic -mmu flush -d mmu -D log
    shows "cr3 flushes" log
    run spin -nographic -d stats --guest-timeout 5000i
    shows "stats: 5000 instructions" err
    run busy -nographic -icount 0 -d all -D first.log
    run busy -nographic -icount 0 -d all -D second.log
    [ -s first.log ] && cmp -s first.log second.log
    report $? "two runs with -icount log the same, bit for bit"
    for item in text json chrome; do
        run busy -nographic -trace "mmu,file=trace.$item,format=$item"
        [ "$status" -eq 0 ] && [ -s "trace.$item" ]
        report $? "-trace mmu as $item"
    done
    python3 -m json.tool trace.chrome >/dev/null
    report $? "the trace for viewers is JSON"
    run busy -nographic -trace 'mmu:kind==cr3_load,file=trace.one'
    [ "$status" -eq 0 ] && grep -q cr3_load trace.one && ! grep -q tlb_fill trace.one
    report $? "-trace with a filter"
    refused "no_such_kind" -nographic -kernel hello.bin -machine kernel-entry=flat16 \
        -trace 'mmu:kind==no_such_kind,file=x'
}

# Options that nothing above has used, each with a guest that runs to its end.
test_options() {
    local line
    while read -r line; do
        # shellcheck disable=SC2086
        ends 0 "$line" hello $line
    done <<'end'
-display none
-nographic -m 64
-nographic -m size=2G
-nographic -smp 1,cores=1
-nographic -smp 8,sockets=2,threads=2 -icount auto
-nographic -M q35
-nographic -machine type=pc,accel=tcg,usb=off,vmport=off
-nographic -accel interp
-nographic -accel kvm -accel tcg,thread=single
-nographic -cpu qemu64,-popcnt,check
-nographic -cpu host
-nographic -nodefaults -no-user-config -serial stdio
-nographic -monitor none -vga none -net none -nic none -parallel none
-nographic -rtc base=2000-01-01,clock=vm -seed 5 -no-hpet
-nographic -icount shift=2,sleep=on
-nographic -boot order=c -k en-us -msg timestamp=on -no-fd-bootchk -no-kvm -mem-prealloc
-nographic -action reboot=shutdown,shutdown=poweroff -no-reboot
-nographic -name guest=test -echr 20 -L /tmp -pidfile pid
-chardev stdio,id=a,mux=on,signal=off -serial chardev:a -mon chardev=a,mode=readline
-nodefaults -chardev stdio,id=a -device isa-serial,chardev=a
-nographic -debugcon stdio
--nographic --timeout=50 --guest-timeout=60s --silence=40
end
    run hello -nographic -nodefaults
    [ "$status" -eq 0 ] && [ ! -s out ]
    report $? "-nodefaults leaves out the serial port"
    for line in -help -h -version "-cpu help" "-machine help" "-device help" "-d help" "-accel help"; do
        # shellcheck disable=SC2086
        "$gnomon" $line >out 2>err </dev/null && [ -s out ] && [ ! -s err ]
        report $? "$line"
    done
    run hello -nographic -no-shutdown --timeout 0.5
    [ "$status" -eq 4 ]
    report $? "-no-shutdown stops: status $status"
}

test_refusals() {
    refused "did you mean '-kernel'" -kernle x
    refused "not there yet" -nographic -drive file=disk.img
    refused "not there yet" -hda disk.img
    refused "is no option" disk.img
    refused "512 at most" -smp 513
    refused "ids up to 398 need the x2APIC" -nographic -kernel hello.bin \
        -machine pc,kernel-entry=flat16 -cpu max,-x2apic -smp 300,sockets=100,cores=3
    refused "3 sockets x 1 cores x 1 threads are 3 processors, not 4" -smp 4,sockets=3
    refused "hardware virtualization" -enable-kvm
    refused "'kvm'" -accel kvm
    refused "valid: int, in_asm" -d nonsense
    refused "did you mean 'in_asm'" -d in_asn
    refused "did you mean 'qemu64'" -cpu qemu65
    refused "wants a value" -kernel
    refused "cannot open" -nographic -kernel /nonexistent
    refused "nothing to boot" -nographic
    refused "hello.bin" -nographic -kernel hello.bin
    refused "-D" -nographic -kernel hello.bin -D /nonexistent/log
    refused "-symbols" -nographic -kernel hello.bin -symbols /nonexistent
    refused "no symbols" -nographic -kernel hello.bin -symbols /dev/null
    refused "/nonexistent/x" -serial file:/nonexistent/x -kernel hello.bin
    refused "id=x" -serial chardev:x -kernel hello.bin
    refused "only one port can use stdio" -serial stdio -serial stdio -kernel hello.bin
    refused "/nonexistent/p" -nographic -kernel hello.bin -pidfile /nonexistent/p
    refused "of RAM do not fit" -nographic -kernel hello.bin -m 1024G -machine kernel-entry=flat16
}

test_streams() {
    local bare=("$gnomon" -machine "pc,kernel-entry=flat16" -kernel)
    timeout 20 "${bare[@]}" hello.bin -nographic <&- >out 2>err && grep -q hello out
    report $? "standard input closed"
    timeout 20 "${bare[@]}" hello.bin -nographic <&- >&- 2>&-
    report $? "all three streams closed"
    timeout 20 "${bare[@]}" hello.bin -serial file:serial <&- >&- 2>&- && grep -q hello serial
    report $? "the first file opened does not become the terminal"
    timeout 20 setsid "${bare[@]}" hello.bin -nographic </dev/null >out 2>err && grep -q hello out
    report $? "no controlling terminal"
    printf 'abcq' | timeout 20 "${bare[@]}" echo.bin -nographic >out 2>err
    [ "$(cat out)" = abcq ]
    report $? "input from a pipe"
    printf '\001\001q' | timeout 20 "${bare[@]}" echo.bin -nographic >out 2>err
    [ "$(cat out)" = $'\001q' ]
    report $? "Ctrl-A twice is one"
    printf '\001\001q' | timeout 20 "${bare[@]}" echo.bin -serial stdio >out 2>err
    [ "$(cat out)" = $'\001\001q' ]
    report $? "-serial stdio has no quit keys"
    printf 'q' >input
    timeout 20 "${bare[@]}" echo.bin -nographic <input >out 2>err && [ "$(cat out)" = q ]
    report $? "input from a file"
    printf '\001xno' | timeout 20 "${bare[@]}" echo.bin -nographic >out 2>err
    report $? "Ctrl-A x from a pipe quits with 0"
    head -c 3000 /dev/zero | tr '\0' a >input
    printf q >>input
    timeout 60 "${bare[@]}" echo.bin -nographic <input >out 2>err && cmp -s input out
    report $? "3001 bytes in and out"
    timeout 20 "${bare[@]}" echo.bin -nographic --timeout 1 <input 2>err | true
    report "${PIPESTATUS[1]}" "a reader that goes away"
    timeout 20 "${bare[@]}" hello.bin -serial null -serial file:second -debugcon file:debug \
        >out 2>err </dev/null && [ ! -s out ] && [ ! -s second ] && grep -q hello debug
    report $? "null, file and debug console"
    printf 'old\n' >kept
    timeout 20 "${bare[@]}" hello.bin -chardev file,id=f,path=kept,append=on -serial chardev:f \
        >out 2>err </dev/null && grep -q old kept && grep -q hello kept
    report $? "a file to append to"
    timeout 20 "${bare[@]}" hello.bin -chardev stdio,id=f,logfile=copy -serial chardev:f \
        >out 2>err </dev/null && cmp -s copy out
    report $? "a log file of a terminal"
    timeout 20 "${bare[@]}" hello.bin -chardev file,id=f,path=e9 -serial null \
        -device isa-debugcon,iobase=0xe9,chardev=f >out 2>err </dev/null && grep -q hello e9
    report $? "isa-debugcon"
    timeout 20 "${bare[@]}" spin.bin -nographic -pidfile pid 2>err </dev/null &
    while [ ! -s pid ]; do sleep 0.05; done
    kill -TERM "$(cat pid)"
    wait $!
    [ $? -eq 143 ] && [ ! -e pid ]
    report $? "-pidfile, and it is gone at the end"
}

# signal_ends <signal> <status> <options...>
signal_ends() {
    local signal=$1 wanted=$2 name="SIG$1"
    shift 2
    # setsid: a shell's background job ignores SIGINT.
    python3 - "$signal" "$wanted" "$gnomon" "$@" >out 2>err <<'end'
import signal, subprocess, sys, time
number, wanted, command = getattr(signal, "SIG" + sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
def default():
    for s in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(s, signal.SIG_DFL)
p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                     preexec_fn=default)
time.sleep(0.5)
p.send_signal(number)
try:
    err = p.communicate(timeout=20)[1]
except subprocess.TimeoutExpired:
    p.kill()
    raise
print(p.returncode, err)
sys.exit(p.returncode != wanted or "signal %d" % number not in err)
end
    report $? "$name ends with $wanted: $*"
}

test_signals() {
    local mode
    for mode in "-icount auto" "-S" "--silence 0"; do
        # shellcheck disable=SC2086
        signal_ends INT 130 -nographic -machine kernel-entry=flat16 -kernel spin.bin $mode
        # shellcheck disable=SC2086
        signal_ends TERM 143 -nographic -machine kernel-entry=flat16 -kernel ticks.bin $mode
    done
    signal_ends HUP 129 -display none -machine kernel-entry=flat16 -kernel spin.bin
}

test_memory() {
    if [ "$(nm "$gnomon" 2>/dev/null | grep -cE '__(asan|tsan)_init')" -gt 0 ]; then
        echo "# sanitizers: memory use is not looked at"
        return
    fi
    python3 - "$gnomon" >out 2>err <<'end'
import resource, subprocess, sys
subprocess.run([sys.argv[1], "-nographic", "-m", "4G", "-machine", "kernel-entry=flat16", "-kernel",
                "hello.bin"], stdin=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
print(used, "MiB")
sys.exit(used > 100)
end
    report $? "a guest with 4 GiB that uses none of it: $(tail -n 1 out)"
}

test_statuses
test_reports
test_log
test_options
test_refusals
test_streams
test_signals
test_memory
if python3 "$OLDPWD/tests/boot/terminal_test.py" "$gnomon" "$work"; then
    report 0 "terminal tests"
else
    report 1 "terminal tests"
fi
echo "$number checks, $failed failed"
[ "$failed" -eq 0 ]
