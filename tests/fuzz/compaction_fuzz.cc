// Any bytes as the segments of a compacted log. A compaction either says that they are damaged, and leaves
// nothing behind, or what it writes has the latest record of each key, no record that wasn't there, and ends
// where its sources end.
#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "storage/compaction.h"
#include "storage/segment.h"
#include "tests/fuzz/batch_input.h"
#include "tests/fuzz/fuzz.h"
#include "tests/storage/fault_file_system.h"

using namespace millrace;
using namespace millrace::protocol;
using namespace millrace::storage;

namespace {

constexpr size_t kLimit = size_t{64} << 20;
constexpr int64_t kNowMs = 1'700'000'000'000;
constexpr size_t kMaxSegments = 3;
constexpr std::string_view kDirectory = "/t-0";

// What the first byte of an input chooses.
struct Choice {
  bool numbers_batches;  // gives batches offsets that follow each other
  bool splits;           // a segment for each batch, as far as there are segments
  bool has_small_map;
  bool has_producers;
  bool merges;
  bool is_late;  // delete horizons have passed
};

using Records = std::map<int64_t, std::pair<std::optional<std::string>, std::optional<std::string>>>;

std::optional<std::string> text_of(const std::optional<Bytes>& bytes) {
  if (!bytes) return std::nullopt;
  return std::string(as_text(*bytes));
}

// False for a file that isn't whole and sound.
bool read_records(const File& file, int64_t base_offset, Records& records) {
  Buffer all(static_cast<size_t>(*file.size()));
  FUZZ_CHECK(*file.read_at(all, 0) == all.size());
  int64_t due_offset = base_offset;
  bool sound = true;
  const auto walked = for_each_batch(all, [&](const BatchHeader& header, Bytes batch) {
    sound = header.base_offset >= due_offset && header.last_offset_delta >= 0 &&
            header.last_offset() >= header.base_offset && crc_matches(batch);
    if (!sound) return false;
    due_offset = header.last_offset() + 1;
    int64_t due_record = header.base_offset;
    const auto read = for_each_record(batch, kLimit, [&](const RecordView& record) {
      sound = sound && record.offset >= due_record && record.offset < due_offset;
      due_record = record.offset + 1;
      if (!header.is_control()) records[record.offset] = {text_of(record.key), text_of(record.value)};
      return sound;
    });
    sound = sound && (read || header.is_control());
    return sound;
  });
  return sound && walked && *walked == all.size();
}

// The input's batches in files of their own: two bytes of length, then what batch_of_input takes.
std::vector<CompactionSource> write_sources(FileSystem& files, Bytes input, const Choice& choice) {
  std::vector<CompactionSource> sources;
  std::shared_ptr<File> file;
  int64_t offset = 0;
  while (input.size() >= 2) {
    const size_t length = std::min(std::to_integer<size_t>(input[0]) | std::to_integer<size_t>(input[1]) << 8,
                                   input.size() - 2);
    Buffer batch = fuzz::batch_of_input(input.subspan(2, length));
    input = input.subspan(2 + length);
    if (batch.empty()) continue;
    if (!file || (choice.splits && sources.size() < kMaxSegments)) {
      const std::string path = std::string(kDirectory) + "/" + Segment::file_name(offset);
      file = *files.open(path, OpenMode::kCreate);
      if (sources.empty() || sources.back().base_offset < offset)
        sources.push_back({path, offset, offset, 0});
    }
    const auto header = read_batch_header(batch);
    if (choice.numbers_batches && header) set_base_offset(batch, offset);
    const Bytes pieces[] = {batch};
    FUZZ_CHECK(file->write_at(pieces, sources.back().size));
    sources.back().size += static_cast<int64_t>(batch.size());
    offset += header ? int64_t{std::max(header->last_offset_delta, 0)} + 1 : 1;
    sources.back().next_offset = offset;
  }
  return sources;
}

void check_result(const Records& before, const Records& after, int64_t end_offset, bool is_late) {
  for (const auto& [offset, record] : after) {
    const auto at = before.find(offset);
    FUZZ_CHECK(at != before.end() && at->second == record);
  }
  std::map<std::string, int64_t> latest;
  for (const auto& [offset, record] : before) {
    if (offset < end_offset && record.first) latest[*record.first] = offset;
  }
  for (const auto& [offset, record] : before) {
    const bool stays = offset >= end_offset ||
                       (record.first && latest[*record.first] == offset && (record.second || !is_late));
    FUZZ_CHECK(!stays || after.contains(offset));
    if (offset < end_offset && record.first && latest[*record.first] != offset)
      FUZZ_CHECK(!after.contains(offset));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const Choice choice{(data[0] & 1) == 0, (data[0] & 2) != 0,  (data[0] & 4) != 0,
                      (data[0] & 8) != 0, (data[0] & 16) != 0, (data[0] & 32) != 0};
  storage::test::FaultFileSystem files;
  FUZZ_CHECK(files.create_directory(std::string(kDirectory)));
  CompactionPlan plan;
  plan.directory = kDirectory;
  plan.sources = write_sources(files, std::as_bytes(std::span(data + 1, size - 1)), choice);
  if (plan.sources.empty()) return 0;
  plan.now_ms = choice.is_late ? INT64_MAX - 1 : kNowMs;
  plan.delete_retention_ms = 1000;
  plan.segment_bytes = choice.merges ? INT32_MAX : 1;
  if (choice.has_producers) {
    for (int64_t id = 0; id < 100; ++id) plan.producers[id] = id;
  }
  const auto paths = files.paths();
  Records before;
  bool sound = true;
  for (const CompactionSource& source : plan.sources)
    sound = read_records(**files.open(source.path, OpenMode::kRead), source.base_offset, before) && sound;

  Compaction compaction(files, plan, choice.has_small_map ? 0 : 1 << 16, {1, 2});
  Records after;
  std::vector<std::string> replaced;
  while (true) {
    const auto state = compaction.advance(1 << 20);
    if (!state) {
      FUZZ_CHECK(!sound || choice.numbers_batches == false);
      FUZZ_CHECK(state.error().code == ErrorCode::kCorruptMessage);
      compaction.discard();
      std::erase_if(replaced, [&](const std::string& path) { return files.remove(path).has_value(); });
      FUZZ_CHECK(files.paths() == paths);
      return 0;
    }
    if (*state == Compaction::State::kDone) break;
    if (*state != Compaction::State::kSegmentReady) continue;
    const CompactedSegment segment = compaction.take_segment();
    replaced.push_back(segment.path);
    FUZZ_CHECK(segment.summary.next_offset == segment.sources.back().next_offset || !choice.numbers_batches);
    const auto file = *files.open(segment.path, OpenMode::kRead);
    FUZZ_CHECK(*file->size() == segment.summary.size);
    FUZZ_CHECK(read_records(*file, segment.summary.base_offset, after));
    for (const CompactionSource& source : segment.sources) FUZZ_CHECK(files.remove(source.path));
  }
  for (const CompactionSource& source : plan.sources) {
    if (files.has(source.path))
      FUZZ_CHECK(read_records(**files.open(source.path, OpenMode::kRead), source.base_offset, after));
  }
  if (!sound) {
    // The damage is in what was left for the next time.
    FUZZ_CHECK(compaction.end_offset() < plan.sources.back().next_offset);
    return 0;
  }
  check_result(before, after, compaction.end_offset(), choice.is_late);
  return 0;
}

std::vector<Buffer> fuzz::seeds() {
  std::vector<Buffer> found;
  const auto batches = batch_seeds();
  for (const int choice : {0, 2, 22, 30, 50, 1}) {
    Buffer input{static_cast<std::byte>(choice)};
    for (size_t i = 0; i < batches.size(); ++i) {
      const Buffer& batch = batches[(i * 5 + static_cast<size_t>(choice)) % batches.size()];
      input.push_back(static_cast<std::byte>(batch.size() & 0xff));
      input.push_back(static_cast<std::byte>(batch.size() >> 8));
      input.insert(input.end(), batch.begin(), batch.end());
      if (i % 3 == 2) found.push_back(input);
    }
  }
  return found;
}
