// A log on the fault file system, and the batches that tests append to it.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "protocol/batch_builder.h"
#include "storage/log.h"
#include "tests/storage/fault_file_system.h"

namespace millrace::storage::test {

inline constexpr int64_t kNow = 1'700'000'000'000;

// A batch of records with these timestamps, as a producer sends it.
inline Buffer batch_of(const std::vector<int64_t>& timestamps, size_t value_size = 20,
                       protocol::BatchOptions options = {}) {
  protocol::BatchBuilder builder(options);
  const std::string value(value_size, 'v');
  for (const int64_t timestamp : timestamps) builder.append(std::nullopt, as_bytes(value), {}, timestamp);
  auto batch = builder.build();
  REQUIRE(batch);
  return std::move(*batch);
}

inline Buffer batch_of(int records, int64_t timestamp_ms = kNow) {
  return batch_of(std::vector<int64_t>(static_cast<size_t>(records), timestamp_ms));
}

inline Buffer idempotent_batch(int64_t producer_id, int16_t epoch, int32_t sequence, int records = 1,
                               int64_t timestamp_ms = kNow) {
  protocol::BatchOptions options;
  options.producer_id = producer_id;
  options.producer_epoch = epoch;
  options.base_sequence = sequence;
  return batch_of(std::vector<int64_t>(static_cast<size_t>(records), timestamp_ms), 20, options);
}

inline Result<> sync_names(Log& log, FileSystem& files) {
  const DirtyNames names = log.dirty_names();
  if (names.directory.empty()) return {};
  if (auto synced = files.sync_directory(names.directory); !synced) return synced;
  log.mark_names_synced(names);
  return {};
}
// Retention as the table of partitions runs it.
inline Result<RetentionReport> retain(Log& log, FileSystem& files, int64_t now_ms, int64_t high_watermark) {
  const auto needs_names = log.roll_for_retention(now_ms, high_watermark);
  if (!needs_names) return std::unexpected(needs_names.error());
  if (*needs_names) {
    if (auto synced = sync_names(log, files); !synced) return std::unexpected(synced.error());
  }
  auto report = log.delete_expired(now_ms, high_watermark);
  if (!report) return report;
  if (auto synced = sync_names(log, files); !synced) return std::unexpected(synced.error());
  return report;
}
// Files to be removed, once their deletion is durable.
inline std::vector<std::string> due_files(Log& log, FileSystem& files, int64_t now_ms) {
  if (!sync_names(log, files)) return {};
  return log.take_due_files(now_ms).paths;
}

template <class Files>
struct BasicLogFixture {
  Files files;
  std::unique_ptr<OffsetIndex> index = std::move(*OffsetIndex::open_in_memory());
  LogOptions options;
  RecoveryReport report;
  std::unique_ptr<Log> log;

  BasicLogFixture() {
    options.directory = "/data/topics/orders-3";
    options.id = {Uuid::from_random(1, 2), 3};
    options.topic = "orders";
    options.now_ms = kNow;
    options.config.file_delete_delay_ms = 0;
    REQUIRE(files.create_directory(options.directory));
  }

  Result<> try_open(bool clean = false) {
    log.reset();
    report = {};
    options.clean_shutdown = clean;
    auto opened = Log::open(files, *index, options, &report);
    if (!opened) return std::unexpected(opened.error());
    log = std::move(*opened);
    return {};
  }
  void open(bool clean = false) {
    const auto opened = try_open(clean);
    if (!opened) FAIL(opened.error().message);
  }
  // As the process of a killed broker finds everything, with the page cache intact.
  void kill_and_open() { open(false); }
  void close_and_open() {
    REQUIRE(log->close(kNow));
    open(true);
  }

  AppendInfo append(Buffer batch, int32_t leader_epoch = 0, int64_t now_ms = kNow) {
    const auto appended = log->append_as_leader(batch, leader_epoch, now_ms);
    if (!appended) FAIL(appended.error().message);
    return *appended;
  }
  ErrorCode append_error(Buffer batch, int32_t leader_epoch = 0, int64_t now_ms = kNow) {
    const auto appended = log->append_as_leader(batch, leader_epoch, now_ms);
    return appended ? ErrorCode::kNone : appended.error().code;
  }
  std::string segment_path(int64_t base_offset) const {
    return options.directory + "/" + Segment::file_name(base_offset);
  }

  Buffer bytes_of(const FileSlice& slice) const {
    Buffer bytes(slice.size);
    if (slice.size > 0) REQUIRE(*slice.file->read_at(bytes, slice.position) == slice.size);
    return bytes;
  }
  int64_t first_offset_of(const FileSlice& slice) const {
    const auto header = protocol::peek_batch_header(bytes_of(slice));
    REQUIRE(header);
    return header->base_offset;
  }
  // Base offsets of all batches, read through the log.
  std::vector<int64_t> base_offsets() const {
    std::vector<int64_t> offsets;
    int64_t next = log->log_start_offset();
    while (next < log->log_end_offset()) {
      const auto slice = log->read(next, log->log_end_offset(), 1, true);
      REQUIRE(slice);
      if (slice->size == 0) break;
      const Buffer bytes = bytes_of(*slice);
      const auto header = protocol::read_batch_header(bytes);
      REQUIRE(header);
      REQUIRE(protocol::crc_matches(bytes));
      REQUIRE(header->size_bytes() == bytes.size());
      offsets.push_back(header->base_offset);
      next = header->last_offset() + 1;
    }
    return offsets;
  }
};

using LogFixture = BasicLogFixture<FaultFileSystem>;

}  // namespace millrace::storage::test
