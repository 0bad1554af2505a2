// A compacted log, the records that go into it, and what can be read of it.
#pragma once

#include <catch2/catch.hpp>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/storage/compaction_driver.h"
#include "tests/storage/log_fixture.h"

namespace millrace::storage::test {

struct KeyedRecord {
  std::string key;
  std::optional<std::string> value;  // without: a tombstone
  int64_t timestamp_ms = kNow;
};

struct StoredRecord {
  int64_t offset = 0;
  std::string key;
  std::optional<std::string> value;
  int64_t timestamp_ms = 0;
  auto operator<=>(const StoredRecord&) const = default;
};

inline Buffer keyed_batch(const std::vector<KeyedRecord>& records,
                          const protocol::BatchOptions& options = {}) {
  protocol::BatchBuilder builder(options);
  for (const KeyedRecord& record : records) {
    std::optional<Bytes> value;
    if (record.value) value = as_bytes(*record.value);
    builder.append(as_bytes(record.key), value, {}, record.timestamp_ms);
  }
  auto batch = builder.build();
  REQUIRE(batch);
  return std::move(*batch);
}

struct CompactionFixture : LogFixture {
  CompactionDriver driver{files, *index};

  CompactionFixture() {
    options.config.compact = true;
    options.config.delete_old = false;
    options.config.delete_retention_ms = 1000;
    options.config.index_interval_bytes = 100;
    open();
  }

  AppendInfo put(const std::vector<KeyedRecord>& records, const protocol::BatchOptions& batch = {}) {
    return append(keyed_batch(records, batch));
  }
  // Each key in a segment of its own.
  void put_and_seal(const std::vector<std::string>& keys) {
    for (const std::string& key : keys) {
      put({{key, "1"}});
      seal();
    }
  }
  // Puts all that is there below the active segment, where compaction may have it.
  void seal() {
    REQUIRE(log->flush());
    REQUIRE(log->roll(kNow));
  }
  bool compact(int64_t now_ms = kNow) {
    const auto done = driver.run(*log, now_ms, log->log_end_offset());
    if (!done) FAIL(done.error().message);
    return *done;
  }

  // Every batch that the log gives a reader, with its bytes.
  std::vector<std::pair<protocol::BatchHeader, Buffer>> batches() const {
    std::vector<std::pair<protocol::BatchHeader, Buffer>> found;
    for (int64_t next = log->log_start_offset(); next < log->log_end_offset();) {
      const auto slice = log->read(next, log->log_end_offset(), 1, true);
      if (!slice) FAIL(slice.error().message);
      REQUIRE(slice->size > 0);
      Buffer bytes = bytes_of(*slice);
      const auto header = protocol::read_batch_header(bytes);
      REQUIRE(header);
      REQUIRE(header->size_bytes() == bytes.size());
      REQUIRE(protocol::crc_matches(bytes));
      REQUIRE(header->last_offset() >= next);
      next = header->last_offset() + 1;
      found.emplace_back(*header, std::move(bytes));
    }
    return found;
  }
  std::vector<StoredRecord> records() const {
    std::vector<StoredRecord> found;
    for (const auto& [header, bytes] : batches()) {
      const auto walked = protocol::for_each_record(bytes, 1 << 20, [&](const protocol::RecordView& record) {
        if (record.offset < log->log_start_offset()) return true;
        StoredRecord& stored = found.emplace_back();
        stored.offset = record.offset;
        stored.timestamp_ms = record.timestamp_ms;
        if (record.key) stored.key = std::string(as_text(*record.key));
        if (record.value) stored.value = std::string(as_text(*record.value));
        return true;
      });
      REQUIRE(walked);
    }
    return found;
  }
  // "0 a=1, 3 b=-": offsets, keys and values, - for a tombstone.
  std::string text() const {
    std::string all;
    for (const StoredRecord& record : records()) {
      all += (all.empty() ? "" : ", ") + std::to_string(record.offset) + " " + record.key + "=" +
             record.value.value_or("-");
    }
    return all;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const std::string& path : files.paths()) {
      if (path.ends_with(".log") || path.ends_with(".cleaned"))
        found.push_back(path.substr(path.rfind('/') + 1));
    }
    return found;
  }
};

}  // namespace millrace::storage::test
