//! Whose records are.

use profiler_common::record::evidence::STAGE_WAITING;
use profiler_common::record::{KIND_SLICE, RecordHeader};
use zerocopy::IntoBytes as _;

use super::*;

fn header(kind: u16, tgid: u32) -> RecordHeader {
    RecordHeader { kind, tgid, tid: tgid, ..RecordHeader::default() }
}

fn of(owners: &mut Owners, record: &[u8]) -> Option<u32> {
    match owners.of(record) {
        Owner::Part(number) => Some(number),
        Owner::Lost | Owner::Nobody => None,
    }
}

fn slice(owners: &mut Owners, tgid: u32) -> Option<u32> {
    of(owners, header(KIND_SLICE, tgid).as_bytes())
}

fn forks(owners: &mut Owners, parent: u32, child: u32) {
    let record = LifecycleRecord {
        header: header(KIND_LIFECYCLE, parent),
        what: FORK,
        other_tgid: child,
        other_tid: child,
        ..LifecycleRecord::default()
    };
    owners.of(record.as_bytes());
}

/// Two sessions with a process each.
fn two() -> Owners {
    let mut owners = Owners::default();
    owners.processes.extend([(10, 0), (20, 1)]);
    owners
}

#[test]
fn a_child_is_whose_its_parent_is_from_its_birth_on() {
    let mut owners = two();
    assert_eq!([10, 20, 21].map(|tgid| slice(&mut owners, tgid)), [Some(0), Some(1), None]);
    forks(&mut owners, 20, 21);
    forks(&mut owners, 21, 22);
    assert_eq!([21, 22].map(|tgid| slice(&mut owners, tgid)), [Some(1); 2]);
}

#[test]
fn what_a_session_had_is_nobodys_after_it_and_whoever_is_unknown_is_a_loss() {
    let mut owners = two();
    forks(&mut owners, 20, 21);
    let mut gone = owners.release(1);
    gone.sort_unstable();
    assert_eq!(gone, [20, 21]);
    assert!(matches!(owners.of(header(KIND_SLICE, 21).as_bytes()), Owner::Nobody));
    assert!(matches!(owners.of(header(KIND_SLICE, 30).as_bytes()), Owner::Lost));
    assert!(matches!(owners.of(&[1, 2, 3]), Owner::Lost), "it is cut off");
    assert_eq!(slice(&mut owners, 10), Some(0));
}

#[test]
fn the_end_of_a_connection_is_told_to_whoever_accepted_it_or_alone_listens_on_its_port() {
    let mut owners = two();
    owners.ports.insert(8000, BTreeSet::from([0]));
    owners.ports.insert(9000, BTreeSet::from([0, 1]));
    let accepted = ConnectionRecord {
        header: header(KIND_CONNECTION, 20),
        socket: 0xffff_1000,
        ..ConnectionRecord::default()
    };
    assert_eq!(of(&mut owners, accepted.as_bytes()), Some(1));
    let mut ends = |socket: u64, local_port: u16, stage: u32| {
        let header = header(KIND_EVIDENCE, 0);
        let record = EvidenceRecord { header, socket, local_port, stage, ..EvidenceRecord::default() };
        of(&mut owners, record.as_bytes())
    };
    assert_eq!(ends(0xffff_1000, 9000, STAGE_ACCEPTED), Some(1));
    assert_eq!(ends(0xffff_2000, 8000, STAGE_WAITING), Some(0));
    assert_eq!(ends(0xffff_2000, 9000, STAGE_WAITING), None, "both listen there");
    assert_eq!(ends(0xffff_1000, 8000, STAGE_WAITING), Some(0), "another socket lies there now");
}

#[test]
fn several_records_in_a_row_come_out_one_by_one() {
    let records: Vec<RecordHeader> = (0..3)
        .map(|tgid| RecordHeader {
            length_bytes: size_of::<RecordHeader>() as u16,
            ..header(KIND_SLICE, tgid)
        })
        .collect();
    let bytes: Vec<u8> = records.iter().flat_map(|record| record.as_bytes().to_vec()).collect();
    let (mut rest, mut seen) = (bytes.as_slice(), Vec::new());
    while let Some((record, behind)) = tap::first_record(rest) {
        seen.push(RecordHeader::read_from_prefix(record).unwrap().0.tgid);
        rest = behind;
    }
    assert_eq!((seen, rest.len()), (vec![0, 1, 2], 0));
}
