//! Statistics as real hosts gave them (libvirt 9.0, QEMU 7.2), read back.

use ballast_core::sample::VmState;

use super::*;

/// `virsh domstats` of a vm with one vCPU, one disk and one interface.
const RECORDED: &str = "\
state.state=1
state.reason=1
cpu.time=3110000000
cpu.user=2390000000
cpu.system=720000000
balloon.current=131072
balloon.maximum=131072
balloon.unused=65128
balloon.available=94788
balloon.usable=70772
balloon.last-update=1795450820
balloon.disk_caches=3000
balloon.rss=239360
vcpu.current=1
vcpu.maximum=1
vcpu.0.state=1
vcpu.0.time=3970000000
vcpu.0.wait=0
vcpu.0.delay=2100661288
net.count=1
net.0.name=vnet0
net.0.rx.bytes=1480
net.0.rx.pkts=20
net.0.rx.errs=1
net.0.rx.drop=2
net.0.tx.bytes=656
block.count=1
block.0.name=vda
block.0.rd.reqs=7
block.0.rd.bytes=479744
block.0.rd.times=1240000
block.0.wr.reqs=1
block.0.wr.bytes=65536
dirtyrate.calc_status=0
";

fn recorded(text: &str) -> Stats {
    let mut stats = Stats::default();
    let numbers = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter_map(|(name, text)| Some((name, text.parse().ok()?)));
    numbers.for_each(|(name, value)| stats.take(name.as_bytes(), value));
    stats
}

fn read(stats: &Stats, at: u64) -> VmCounters {
    counters(VmId::default(), 7, stats, Timestamp::from_secs(at), Duration::from_secs(10))
}

const FRESH: u64 = 1_795_450_824;

#[test]
fn reads_every_counter_of_a_real_vm() {
    let expected = VmCounters {
        vm: VmId::default(),
        incarnation: 7,
        taken_at: Timestamp::from_secs(FRESH),
        state: VmState::Running,
        cpu_time_nanos: Some(3_110_000_000),
        vcpu_time_nanos: Some(3_970_000_000),
        vcpu_delay_nanos: Some(2_100_661_288),
        memory_used: Some(Bytes::from_kib(94_788 - 70_772)),
        memory_balloon: Some(Bytes::from_kib(131_072)),
        memory_resident: Some(Bytes::from_kib(239_360)),
        disk_read_bytes: Some(479_744),
        disk_write_bytes: Some(65_536),
        disk_read_ops: Some(7),
        disk_write_ops: Some(1),
        disk_read_nanos: Some(1_240_000),
        disk_write_nanos: None,
        net_rx_bytes: Some(1480),
        net_tx_bytes: Some(656),
        net_rx_packets: Some(20),
        net_tx_packets: None,
        net_rx_lost: Some(3),
        net_tx_lost: None,
        dirty_rate: None,
        working_set: None,
    };
    assert_eq!(read(&recorded(RECORDED), FRESH), expected);
}

#[test]
fn sums_over_hot_plugged_vcpus_with_numbers_missing() {
    let stats = recorded("vcpu.0.time=5\nvcpu.3.time=7\nvcpu.11.time=1\nvcpu.current=3\nvcpu.x.time=100\n");
    assert_eq!(read(&stats, FRESH).vcpu_time_nanos, Some(13));
    assert_eq!(read(&stats, FRESH).vcpu_delay_nanos, None);
}

#[test]
fn a_frozen_account_of_the_guests_memory_does_not_count() {
    assert_eq!(read(&recorded(RECORDED), FRESH + 60).memory_used, None);
    let never = recorded(&RECORDED.replace("last-update=1795450820", "last-update=0"));
    assert_eq!(read(&never, FRESH).memory_used, None);
}

#[test]
fn an_old_guest_without_usable_memory_is_read_by_its_unused_memory() {
    let old = recorded(&RECORDED.replace("balloon.usable", "balloon.hidden"));
    assert_eq!(read(&old, FRESH).memory_used, Some(Bytes::from_kib(94_788 - 65_128)));
}

#[test]
fn what_a_busy_vm_does_not_answer_is_missing_not_zero() {
    let busy = read(&recorded("state.state=1\nstate.reason=1\n"), FRESH);
    assert_eq!(busy.state, VmState::Running);
    assert_eq!((busy.cpu_time_nanos, busy.memory_used, busy.disk_read_bytes), (None, None, None));
}

#[test]
fn what_changed_counts_only_once_it_was_measured() {
    let text = "dirtyrate.calc_status=2\ndirtyrate.calc_start_time=5\ndirtyrate.calc_period=8\n\
                dirtyrate.megabytes_per_second=3\n";
    let expected = Changed { after: Duration::from_secs(8), amount: Bytes::from_mib(24) };
    assert_eq!(changed(&recorded(text)), Some(expected));
    assert_eq!(changed(&recorded(&text.replace("status=2", "status=1"))), None);
    assert_eq!(changed(&recorded(RECORDED)), None);
}
