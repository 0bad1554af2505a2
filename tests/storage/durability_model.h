// What a partition's log must hold after whatever happened to it: every batch that was appended, and bounds
// for what of it may be gone.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "protocol/batch_builder.h"
#include "storage/log.h"

namespace millrace::storage::test {

// The log did what it must not do.
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class... Args>
void require(bool holds, fmt::format_string<Args...> what, Args&&... args) {
  if (!holds) throw Violation(fmt::format(what, std::forward<Args>(args)...));
}

struct ModelRecord {
  int64_t offset = 0;
  std::string key;
  std::optional<std::string> value;
  auto operator<=>(const ModelRecord&) const = default;
};

struct ModelBatch {
  protocol::BatchHeader header;
  Buffer bytes;
};

inline std::vector<ModelRecord> records_of(Bytes batch) {
  std::vector<ModelRecord> records;
  const auto walked = protocol::for_each_record(batch, 8 << 20, [&](const protocol::RecordView& record) {
    ModelRecord& found = records.emplace_back();
    found.offset = record.offset;
    if (record.key) found.key = std::string(as_text(*record.key));
    if (record.value) found.value = std::string(as_text(*record.value));
    return true;
  });
  require(walked.has_value(), "a batch that can't be read");
  return records;
}

class PartitionModel {
 public:
  PartitionModel(std::string name, bool compacted) : name_(std::move(name)), compacted_(compacted) {}

  // Batches below the log's start stay, for the producers' sequences.
  const std::vector<ModelBatch>& batches() const { return batches_; }
  int64_t end_offset() const {
    return batches_.empty() ? empty_end_ : batches_.back().header.last_offset() + 1;
  }
  int64_t acknowledged_end() const { return acknowledged_end_; }
  // Whom the log may remember, although the model doesn't, isn't used again.
  int64_t producer_generation() const { return producer_generation_; }

  // `certain`: the append returned. Else it may be there or not, or in part, which is not.
  void append(Bytes batch, bool certain) {
    const auto header = protocol::read_batch_header(batch);
    require(header.has_value(), "{}: appended what isn't a batch", name_);
    batches_.push_back({*header, Buffer(batch.begin(), batch.end())});
    if (certain) in_cache_end_ = end_offset();
  }
  // Nothing below may be lost, by a power loss either.
  void acknowledge(int64_t end_offset) { acknowledged_end_ = std::max(acknowledged_end_, end_offset); }

  // The process ends, and what isn't in a file yet, from this offset on, is in none.
  void end_life(int64_t written_end) { in_cache_end_ = std::min(in_cache_end_, written_end); }

  // Where a truncation to `offset` ends the log: at the start of a batch.
  int64_t truncated_end(int64_t offset) const {
    for (const ModelBatch& batch : batches_) {
      if (batch.header.last_offset() >= offset) return std::min(offset, batch.header.base_offset);
    }
    return std::min(offset, end_offset());
  }
  void begin_truncation(int64_t end_offset) {
    acknowledged_end_ = std::min(acknowledged_end_, end_offset);
    in_cache_end_ = std::min(in_cache_end_, end_offset);
  }
  void end_truncation(int64_t end_offset) { cut(end_offset); }
  void begin_restart_at(int64_t offset) {
    acknowledged_end_ = in_cache_end_ = start_min_ = 0;
    start_max_ = std::max(end_offset(), offset);
    begins_anew_ = true;
  }
  void end_restart_at(int64_t offset) {
    forget_all();
    start_min_ = start_max_ = acknowledged_end_ = in_cache_end_ = empty_end_ = offset;
  }
  void begin_moving_start(int64_t at_most) { start_max_ = std::max(start_max_, at_most); }
  void end_moving_start(int64_t offset) { start_min_ = start_max_ = offset; }

  enum class After { kNothing, kKill, kPowerLoss, kDamage };

  // Reads the whole log and compares. After a restart the log's own view is what counts from then on.
  void check(const Log& log, After after) {
    const int64_t start = log.log_start_offset();
    const int64_t end = log.log_end_offset();
    if (after != After::kDamage) check_bounds(start, end, after);
    const auto served = read(log);
    if (compacted_) {
      check_compacted(served, start, end, after);
    } else {
      check_plain(served, start, end);
    }
    if (after != After::kNothing) adopt(served, start, end);
  }

 private:
  void check_bounds(int64_t start, int64_t end, After after) const {
    require(start >= start_min_ && start <= start_max_, "{} starts at {} instead of {} to {}", name_, start,
            start_min_, start_max_);
    const int64_t least =
        after == After::kPowerLoss ? acknowledged_end_ : std::max(in_cache_end_, acknowledged_end_);
    require(end >= least, "{} ends at {}, but {} was {}", name_, end, least,
            after == After::kPowerLoss ? "acknowledged" : "written");
    require(end <= std::max(end_offset(), start_max_), "{} ends at {}, beyond {}", name_, end, end_offset());
  }

  std::vector<ModelBatch> read(const Log& log) const {
    std::vector<ModelBatch> served;
    for (int64_t next = log.log_start_offset(); next < log.log_end_offset();) {
      const auto slice = log.read(next, log.log_end_offset(), 1 << 20, true);
      require(slice.has_value(), "{} can't be read at {}: {}", name_, next,
              slice ? "" : slice.error().message);
      require(slice->size > 0, "{} has nothing at {}, but ends at {}", name_, next, log.log_end_offset());
      Buffer bytes(slice->size);
      const auto got = slice->file->read_at(bytes, slice->position);
      require(got && *got == bytes.size(), "{} serves what isn't there at {}", name_, next);
      size_t whole = 0;
      const auto walked =
          protocol::for_each_batch(bytes, [&](const protocol::BatchHeader& header, Bytes batch) {
            require(protocol::crc_matches(batch), "{} serves a wrong CRC at {}", name_, header.base_offset);
            require(header.last_offset() >= next, "{} serves {} where {} is due", name_, header.last_offset(),
                    next);
            next = header.last_offset() + 1;
            served.push_back({header, Buffer(batch.begin(), batch.end())});
            ++whole;
            return true;
          });
      require(walked && whole > 0, "{} serves no whole batch at {}", name_, next);
    }
    return served;
  }

  void check_plain(const std::vector<ModelBatch>& served, int64_t start, int64_t end) const {
    auto expected = batches_.begin();
    while (expected != batches_.end() && expected->header.last_offset() < start) ++expected;
    for (const ModelBatch& batch : served) {
      require(expected != batches_.end(), "{} serves {}, which was never appended", name_,
              batch.header.base_offset);
      require(batch.bytes == expected->bytes, "{} serves at {} another batch than was appended at {}", name_,
              batch.header.base_offset, expected->header.base_offset);
      ++expected;
    }
    if (served.empty()) return;
    require(served.back().header.last_offset() + 1 == end, "{} ends at {}, but serves up to {}", name_, end,
            served.back().header.last_offset());
  }

  void check_compacted(const std::vector<ModelBatch>& served, int64_t start, int64_t end, After after) const {
    std::map<int64_t, ModelRecord> appended;
    std::map<std::string, ModelRecord> latest;
    for (const ModelBatch& batch : batches_) {
      if (batch.header.last_offset() >= end) break;
      for (ModelRecord& record : records_of(batch.bytes)) {
        if (record.offset < start) continue;
        latest[record.key] = record;
        appended[record.offset] = std::move(record);
      }
    }
    std::map<std::string, ModelRecord> found;
    for (const ModelBatch& batch : served) {
      for (const ModelRecord& record : records_of(batch.bytes)) {
        const auto original = appended.find(record.offset);
        require(original != appended.end() && original->second == record,
                "{} serves at {} a record that was never appended", name_, record.offset);
        found[record.key] = record;
      }
    }
    if (after == After::kDamage) return;
    for (const auto& [key, record] : latest) {
      const auto last = found.find(key);
      const bool is_there = last != found.end() && last->second == record;
      const bool is_deleted = !record.value && last == found.end();
      require(is_there || is_deleted, "{} lacks the last value of {}, at {}", name_, key, record.offset);
    }
  }

  void adopt(const std::vector<ModelBatch>& served, int64_t start, int64_t end) {
    // Begun anew at the start: what was known of producers is gone, too.
    if (std::exchange(begins_anew_, false) || served.empty()) ++producer_generation_;
    cut(end);
    if (served.empty() && end_offset() != end) batches_.clear();
    start_min_ = start_max_ = start;
    acknowledged_end_ = in_cache_end_ = end;
  }
  void cut(int64_t end) {
    empty_end_ = end;
    while (!batches_.empty() && batches_.back().header.last_offset() >= end) batches_.pop_back();
  }
  void forget_all() {
    batches_.clear();
    begins_anew_ = false;
    ++producer_generation_;
  }

  const std::string name_;
  const bool compacted_;
  std::vector<ModelBatch> batches_;
  int64_t empty_end_ = 0;  // where the log ends while it has no batches
  int64_t start_min_ = 0;
  int64_t start_max_ = 0;
  int64_t in_cache_end_ = 0;      // a kill keeps what is below
  int64_t acknowledged_end_ = 0;  // so does a power loss
  bool begins_anew_ = false;      // a restart at another offset may be half done
  int64_t producer_generation_ = 0;
};

}  // namespace millrace::storage::test
