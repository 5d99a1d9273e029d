"""All metric families of livekeep-exporter: kind, labels in order, and meaning.

docs/reference/metrics.md shows the same as a page; a test compares the two. Units are base units (seconds, bytes,
celsius, hertz); a `_total` only counts up; times are Unix times; an unknown value has no series; no label contains a URL, a
title or an error.
"""

from livekeep.status import probe_descriptions
from livekeep.system.metric_family import Family, Sample, counter, gauge, info, stateset

__all__ = ["Family", "Sample"]

HEALTH = {
    "livekeep_health_state": stateset("The verdict of livekeep health: ok, degraded or down.", "level"),
    "livekeep_screen_health_state": stateset("The verdict on the screen alone; absent where there is none.", "level"),
    "livekeep_channel_health_state": stateset("The verdict on a channel that is meant to be on air, or is.", "channel", "level"),
}

POLLER = {
    "livekeep_stream_state": stateset("The stream's state: live, offline, starting, error or unknown.", "state"),
    "livekeep_stream_cause": stateset("Why the stream is in its state; none if nothing is wrong.", "cause"),
    "livekeep_stream_live_since_timestamp_seconds": gauge("When the stream went live; absent while it is not live."),
    "livekeep_stream_next_start_timestamp_seconds": gauge("When the stream is scheduled to start."),
    "livekeep_stream_url_expiry_timestamp_seconds": gauge("When the signed URL of the stream expires."),
    "livekeep_api_requests_total": counter("Requests to the API or the stream's server, by outcome.", "outcome"),
    "livekeep_api_request_duration_seconds": Family("histogram", (), "How long the requests took."),
    "livekeep_api_consecutive_failures": gauge("Requests that failed since the last successful one."),
    "livekeep_api_last_success_timestamp_seconds": gauge("When a request last succeeded."),
    "livekeep_api_ratelimit_remaining": gauge("Requests that the API still allows in the current period."),
}

PLAYER = {
    "livekeep_display_mode": stateset("The picture on the screen: stream, holding, error or off.", "mode"),
    "livekeep_display_restarts_total": counter("Times that the player restarted the display."),
    "livekeep_player_up": gauge("Whether the display responds and has a screen."),
    "livekeep_player_position_seconds": gauge("The stream's position; it may jump back."),
    "livekeep_player_position_last_change_timestamp_seconds": gauge(
        "When the position last changed: while the stream plays, it changes."
    ),
    "livekeep_player_stream_picture": stateset(
        "The picture of a stream that plays: moving, frozen, blank (one colour) or none (sound only).", "picture"
    ),
    "livekeep_player_picture_last_change_timestamp_seconds": gauge("When the stream's picture last changed, as observed."),
    "livekeep_player_dropped_frames_total": counter("Frames dropped by the decoder or at the output.", "stage"),
    "livekeep_player_cache_duration_seconds": gauge("How much of the stream is loaded ahead, in time."),
    "livekeep_player_cache_bytes": gauge("How much of the stream is loaded ahead, in bytes."),
    "livekeep_player_input_bytes_per_second": gauge("How fast the stream comes in."),
    "livekeep_player_buffering": gauge("Whether the display waits for data."),
    "livekeep_player_stalls_total": counter("Times that the stream stalled."),
    "livekeep_player_stalled_seconds_total": counter("How long the stream has stalled in total."),
    "livekeep_player_av_offset_seconds": gauge("How far sound and picture are apart."),
    "livekeep_player_video_frame_rate_hertz": gauge("Frames a second that are shown."),
    "livekeep_player_decoder_info": info("The stream's codec, and the hardware decoder in use.", "codec", "hwdec"),
}

TV = {
    "livekeep_screen_wanted": gauge("Whether a picture is wanted on the TV now; 1 without a plan, absent without a screen."),
    "livekeep_tv_problem": gauge("Whether the TV could not be switched as wanted; 0 without a plan."),
}

CHANNELS = {
    "livekeep_channel_intended": gauge("Whether the channel is meant to be on air.", "channel"),
    "livekeep_channel_on_air": gauge("Whether the ingest has acknowledged bytes within the last seconds.", "channel"),
    "livekeep_channel_state": stateset("What the channel's worker does; absent while none runs.", "channel", "state"),
    "livekeep_channel_connected_since_timestamp_seconds": gauge("When the current connection went on air.", "channel"),
    "livekeep_channel_on_backup": gauge("Whether the channel uses its backup ingest.", "channel"),
    "livekeep_channel_connections_total": counter("Connections that came on air; all but one are reconnects.", "channel"),
    "livekeep_channel_refusals_total": counter("Times that the ingest refused the stream.", "channel"),
    "livekeep_channel_retries": gauge("Failures to publish since the channel was last on air.", "channel"),
    "livekeep_channel_acknowledged_bytes_total": counter("Bytes that the ingest has acknowledged.", "channel"),
    "livekeep_channel_last_acknowledged_timestamp_seconds": gauge("When the ingest last acknowledged bytes.", "channel"),
    "livekeep_channel_items_known": gauge("Items that the channel's folder or bucket holds.", "channel"),
    "livekeep_channel_items_total": counter("Items by outcome: played, short, failed or skipped.", "channel", "outcome"),
    "livekeep_channel_slate_active": gauge("Whether the slate is shown instead of an item.", "channel"),
    "livekeep_channel_slates_total": counter("Times that the slate was shown.", "channel"),
    "livekeep_channel_slate_seconds_total": counter("How long the slate was shown in total.", "channel"),
    "livekeep_channel_storage_success": gauge("Whether the last attempt to list the folder or bucket succeeded.", "channel"),
    "livekeep_channel_timeline_seconds_total": counter("Media time that was sent, items and slate.", "channel"),
    "livekeep_channel_speed_ratio": gauge("Media time sent a second, over the last seconds; 1 is real time.", "channel"),
    "livekeep_channel_drift_seconds": gauge("How far the channel is behind the clock; less than 0 is ahead of it.", "channel"),
    "livekeep_channel_last_end_timestamp_seconds": gauge("When a worker of the channel last ended.", "channel"),
    "livekeep_channel_last_end_info": info(
        "How it ended, in systemd's terms, and its exit code or signal.", "channel", "result", "status"
    ),
    "livekeep_channel_youtube_live": gauge("Whether YouTube shows the channel's broadcast live.", "channel"),
    "livekeep_channel_youtube_viewers": gauge(
        "Current viewers, as counted by YouTube; absent if it does not count them.", "channel"
    ),
}

PROBES = {
    "livekeep_probe_success": gauge("Whether the last run succeeded; absent if it was skipped.", "probe", "target"),
    "livekeep_probe_duration_seconds": gauge("How long the last run took.", "probe", "target"),
    "livekeep_probe_last_run_timestamp_seconds": gauge("When the probe last ran, skipped runs included.", "probe"),
    "livekeep_probe_last_success_timestamp_seconds": gauge("When a run last succeeded.", "probe"),
    "livekeep_probe_interval_seconds": gauge("The configured time between two runs.", "probe"),
    "livekeep_probe_runs_total": counter("Runs since boot, by outcome: success, failure or skipped.", "probe", "outcome"),
    **{name: family for probe in probe_descriptions.descriptions().values() for name, family in probe.metrics.items()},
}

RECORD = {
    "livekeep_record_well": gauge("Whether the recorder works and its database was good when last checked."),
    "livekeep_record_entries_total": counter("Entries of the journal that were recorded."),
    "livekeep_record_calls_total": counter("Calls of jobs that were recorded."),
    "livekeep_record_events_total": counter("Events that were recorded."),
    "livekeep_record_duplicates_total": counter("Duplicate entries, which were dropped."),
    "livekeep_record_lost_entries_total": counter("Entries that are known to be lost."),
    "livekeep_record_lost_calls_total": counter("Calls that are known to be lost."),
    "livekeep_record_commits_total": counter("Transactions that the recorder committed."),
    "livekeep_record_sessions_running": gauge("Sessions of jobs that run now."),
    "livekeep_record_lag_seconds": gauge("How long after it was written the newest entry was committed."),
    "livekeep_record_last_commit_timestamp_seconds": gauge("When the recorder last committed."),
    "livekeep_record_database_bytes": gauge("The size of the record's database."),
    "livekeep_record_oldest_call_timestamp_seconds": gauge("When the oldest call that is kept began."),
    "livekeep_record_last_check_timestamp_seconds": gauge("When the database was last checked and copied."),
    "livekeep_record_alerts_open": gauge("Alerts of the record part that are open.", "severity"),
    "livekeep_record_alerter_problems": gauge("Rules and channels of the record part that are faulty."),
    "livekeep_record_messages_waiting": gauge("Messages that are not delivered yet."),
    "livekeep_record_messages_delivered_total": counter("Messages that a channel accepted."),
    "livekeep_record_deliveries_failed_total": counter("Attempts to deliver a message that failed."),
    "livekeep_record_last_delivery_timestamp_seconds": gauge("When a message was last delivered."),
    "livekeep_record_clips_success": gauge("Whether the last run of the clip analyzer fetched all clips."),
    "livekeep_record_clips_last_run_timestamp_seconds": gauge("When the clip analyzer last ran."),
    "livekeep_record_clips": gauge("Clips that the clip analyzer knows."),
    "livekeep_record_clips_taking_off": gauge("Clips that take off now."),
}

HOST = {
    "livekeep_pi_temperature_celsius": gauge("The temperature of a sensor.", "sensor"),
    "livekeep_pi_fan_speed_rpm": gauge(
        "The speed of the fan.",
    ),
    "livekeep_host_cpu_seconds_total": counter("Processor time by mode, for all processors together.", "mode"),
    "livekeep_host_cpu_frequency_hertz": gauge("The current frequency of a processor.", "cpu"),
    "livekeep_host_load1": gauge("The load average over one minute."),
    "livekeep_host_load5": gauge("The load average over five minutes."),
    "livekeep_host_load15": gauge("The load average over fifteen minutes."),
    "livekeep_host_memory_available_bytes": gauge("Memory available to programs."),
    "livekeep_host_memory_size_bytes": gauge("The machine's memory."),
    "livekeep_host_filesystem_size_bytes": gauge("The size of a file system.", "mountpoint"),
    "livekeep_host_filesystem_available_bytes": gauge(
        "Space that unprivileged users can still use on a file system.", "mountpoint"
    ),
    "livekeep_host_filesystem_readonly": gauge("Whether a file system is mounted read-only.", "mountpoint"),
    "livekeep_host_network_receive_bytes_total": counter("Bytes that a network device received.", "device"),
    "livekeep_host_network_transmit_bytes_total": counter("Bytes that a network device sent.", "device"),
    "livekeep_host_network_carrier": gauge("Whether a network device has a link.", "device"),
    "livekeep_host_oom_kills_total": counter(
        "Processes of the whole machine, containers included, that the kernel killed because memory ran out."
    ),
    "livekeep_oom_kills_total": counter("Processes of livekeep's units that the kernel killed because memory ran out."),
    "livekeep_host_pressure_waiting_seconds_total": counter("How long at least one task waited for a resource.", "resource"),
    "livekeep_host_boot_time_seconds": gauge("When the machine was started."),
    "livekeep_host_board_info": info("The machine's model, from its firmware.", "board", "model"),
}

UNITS = {
    "livekeep_unit_state": stateset("The unit's state in systemd's terms.", "unit", "state"),
    "livekeep_unit_start_time_seconds": gauge("When the unit last became active.", "unit"),
    "livekeep_unit_restarts_total": counter("Automatic restarts; a manual start sets them to zero.", "unit"),
    "livekeep_unit_result_info": info("How the unit last ended, in systemd's terms.", "unit", "result"),
    "livekeep_unit_watchdog_timeout_seconds": gauge("How long the unit may stay silent before systemd restarts it.", "unit"),
    "livekeep_unit_watchdog_last_ping_timestamp_seconds": gauge("When the unit last notified systemd's watchdog.", "unit"),
    "livekeep_unit_memory_bytes": gauge("Memory in use by the unit.", "unit"),
    "livekeep_unit_memory_peak_bytes": gauge("The most memory that the unit has used.", "unit"),
    "livekeep_unit_cpu_seconds_total": counter("Processor time that the unit has used.", "unit"),
    "livekeep_unit_tasks": gauge("Processes and threads of the unit.", "unit"),
    "livekeep_timer_last_trigger_timestamp_seconds": gauge("When the timer last started its unit.", "unit"),
    "livekeep_systemd_failed_units": gauge("Units of the machine that have failed."),
    "livekeep_hardware_watchdog_timeout_seconds": gauge(
        "How long systemd may stay silent before the hardware restarts the machine."
    ),
    "livekeep_hardware_watchdog_last_ping_timestamp_seconds": gauge("When systemd last notified the hardware watchdog."),
}

EXPORTER = {
    "livekeep_build_info": info("The version of livekeep.", "version", "revision", "python"),
    "livekeep_exporter_collector_success": gauge(
        "Whether a source of metrics could be read; 1 also if it is absent on purpose.", "collector"
    ),
    "livekeep_exporter_collector_duration_seconds": gauge("How long reading the source took.", "collector"),
    "process_start_time_seconds": gauge("When the exporter was started."),
    "process_cpu_seconds_total": counter("Processor time that the exporter has used."),
    "process_resident_memory_bytes": gauge("Memory in use by the exporter."),
    "process_open_fds": gauge("File descriptors that the exporter has open."),
}

FAMILIES: dict[str, Family] = {**HEALTH, **POLLER, **PLAYER, **TV, **CHANNELS, **PROBES, **RECORD, **HOST, **UNITS, **EXPORTER}
"""By name, in the order of the response. A counter's name ends in _total."""

HISTOGRAM_PARTS: dict[str, tuple[str, ...]] = {"_bucket": ("le",), "_count": (), "_sum": ()}
WHOLE: dict[str, tuple[str, ...]] = {"": ()}
SERIES = {
    name + part: (name, family.labels + more)
    for name, family in FAMILIES.items()
    for part, more in (HISTOGRAM_PARTS if family.kind == "histogram" else WHOLE).items()
}
"""The valid sample names with their family and labels: those of the families, and the parts of histograms."""
