# From JSON 2 to JSON 1.5: `jq -f json-2-to-1.jq report.json`, and the same with -c for the lines of ndjson.
#
# In: a report of version 2, or requests. Out: the same by report-1.schema.json. Keys that version 2 adds later stay.
# jq before 1.7 rounds whole numbers beyond 2^53; of a report that is window.wall_clock_start_ns, by less than 256 ns.

def rename($names): if . == null then . else with_entries(.key |= ($names[.] // .)) end;

def bytes: {received_bytes: "bytes_in", sent_bytes: "bytes_out"};

# {"cpu_ns": 1} was {"cpu": 1}.
def phases: with_entries(.key |= rtrimstr("_ns"));

# Light mode sees waits alone, and version 1 has no place for these.
def round_trips: .back_end_round_trips |= if . == null or .total == null then null else . end;

def standard_error: .phases |= phases;

def request: round_trips | rename(bytes + {has_arrival: "start_is_arrival", is_open: "open", is_truncated: "truncated",
    is_lossy: "lossy"}) | .phases |= phases;

# Six digits after the point, as in the report.
def rounded: . * 1e6 | round / 1e6;

def phase_table($whole_ns; $why): with_entries(
  "/phases/\(.key)" as $key
  | .key |= rtrimstr("_ns")
  | .value |= if . == null then {not_measured: ($why[$key] // "not measured")}
      else {total_ns: ., share_ratio: (if $whole_ns > 0 then . / $whole_ns | rounded else null end)} end);

def no_slots: {configured: null, counted: 0, observed: 0, peak_busy: 0, capacity_ns: 0, busy_ns: 0,
  capacity_used_ratio: null, exhausted_ns: 0, exhausted_ratio: 0, acceptor_linger_ns: 0,
  held: {request_ns: 0, client_read_stall_ns: 0, client_write_stall_ns: 0, first_byte_ns: 0, keepalive_idle_ns: 0,
    linger_ns: 0, housekeeping_ns: 0},
  list: [], heat_map: {bucket_ns: 1, rows: []}};

def no_drops($why): {served: 0, nothing_asked: 0, undecided: 0, open: 0, dropped: 0, causes: [], accept_failures: [],
  worker_ends: [], not_seen: [$why]};

def event_loop: {is_event_loop: "event_loop"};

def worker: rename(event_loop) | .event_loop |= (. // false)
  | (.slots, .slots_seen, .busy_ns, .exhausted_ns) |= (. // 0);

def holder: rename({iterations: "turns"}) | .long |= rename({iterations: "turns"});

def loop: rename({iterations: "turns", longest_iteration_ns: "longest_turn_ns"}) | .between_requests_ns = 0
  | .holders |= map(holder);

def gil($why): rename({has_holders: "holders_known"}) | .attempts |= (. // 0)
  | .locks |= map(.convoy |= rename({per_interval_ratio: "q", fit_ratio: "r2"})
      | (.after_forced_release, .after_voluntary_release, .missed, .missed_ns, .missed_in_a_row_max) |= (. // 0)
      | .missed_in_a_row |= (. // [range(8) | 0]))
  | .interpreters |= (to_entries
      | map(.key as $place | .value | rename({is_free_threaded: "free_threaded"})
          | .not_measured = $why["/gil/interpreters/\($place)"]));

def queue: .over_time.weight = .observed_ns | .at_arrival.weight = .arrivals | del(.arrivals);

def listener: .queue |= (if . then queue else . end)
  | .woken |= rename({wasted: "in_vain", wasted_cpu_ns: "in_vain_cpu_ns", wasted_run_queue_ns: "in_vain_run_queue_ns",
      wasted_switches: "in_vain_switches"})
  | .waiters |= map(rename({is_exclusive: "exclusive", is_one_shot: "one_shot", is_edge_triggered: "edge_triggered",
      is_shared: "shared", is_nested: "nested"}));

def report:
  (.not_measured | map({(.key): .reason}) | add // {}) as $why
  | .requests.time_in_requests_ns as $whole_ns
  | del(.not_measured)
  | .schema_version = "1.5"
  | .tool |= rename({has_arrivals: "arrival_measured"})
  | .host |= rename({is_cpu_time_comparable: "cpu_time_comparable"})
  | .losses |= rename({is_complete: "complete", is_recording_truncated: "recording_truncated"})
  | .requests |= (rename(bytes) | .standard_error |= standard_error | .slowest |= map(request))
  | .phases |= phase_table($whole_ns; $why)
  | .endpoints |= map(round_trips | rename(bytes + {is_remainder: "other"}) | .phases |= phases | .standard_error |= standard_error)
  | .slots |= if . then .acceptor_linger_ns |= (. // 0) | .list |= map(rename(event_loop)) else no_slots end
  | .capacity.workers |= map(worker)
  | .event_loops |= map(loop)
  | .gil |= if . then gil($why) else {not_measured: ($why["/gil"] // "not measured")} end
  | .listeners |= map(select(.accepted != null) | listener)
  | .drops |= (if . then . else no_drops($why["/drops"]) end | .not_measured = $why["/drops"])
  | .overhead |= if . then . else {not_measured: ($why["/overhead"] // "not measured")} end;

if has("schema_version") then report else request end
