// Any bytes as the files of a log (after one that says whether their CRCs are put right): a start either says
// what is wrong or serves sound batches in order, another start finds the same, and a compaction of it leaves
// sound batches, too.
#include "protocol/record_batch.h"
#include "storage/compaction.h"
#include "storage/log.h"
#include "tests/fuzz/batch_input.h"
#include "tests/fuzz/fuzz.h"
#include "tests/storage/fault_file_system.h"

using namespace millrace;
using namespace millrace::storage;

namespace {

constexpr std::string_view kDirectory = "/log-0";
// Between the files of an input.
constexpr std::byte kNextFile{0xf7};
constexpr size_t kMaxFiles = 3;
constexpr int64_t kFilesApart = 4;  // offsets
constexpr int64_t kNowMs = 1'700'000'000'000;
constexpr size_t kKeyMemory = size_t{1} << 12;
constexpr int64_t kStepBytes = 1 << 20;

// So that what comes behind the CRC gets something to look at.
void put_crcs_right(MutableBytes file) {
  for (size_t at = 0; at + protocol::BatchHeader::kSize <= file.size();) {
    const auto header = protocol::peek_batch_header(file.subspan(at));
    if (!header || header->size_bytes() > file.size() - at) return;
    protocol::update_crc(file.subspan(at, header->size_bytes()));
    at += header->size_bytes();
  }
}

// The offsets of all batches.
std::vector<int64_t> walk(const Log& log) {
  std::vector<int64_t> found;
  for (int64_t next = log.log_start_offset(); next < log.log_end_offset();) {
    const auto slice = log.read(next, log.log_end_offset(), 1, true);
    FUZZ_CHECK(slice);
    // Only holes are left.
    if (slice->size == 0) break;
    Buffer bytes(slice->size);
    const auto got = slice->file->read_at(bytes, slice->position);
    FUZZ_CHECK(got && *got == bytes.size());
    const auto header = protocol::peek_batch_header(bytes);
    FUZZ_CHECK(header && header->size_bytes() == bytes.size());
    FUZZ_CHECK(protocol::crc_matches(bytes));
    FUZZ_CHECK(header->last_offset() >= next);
    found.push_back(header->last_offset());
    next = header->last_offset() + 1;
  }
  return found;
}

void compact(FileSystem& files, OffsetIndex& index, Log& log) {
  if (!log.roll(kNowMs)) return;
  const auto range = log.cleanable(kNowMs, log.log_end_offset());
  if (!range || !*range) return;
  const int64_t end_offset = log.log_end_offset();
  Compaction compaction(files, log.plan_compaction(**range, kNowMs), kKeyMemory, HashSecret{1, 2});
  while (true) {
    const auto state = compaction.advance(kStepBytes);
    // The records within a batch may be anything: then nothing is replaced.
    if (!state || *state == Compaction::State::kDone) break;
    if (*state != Compaction::State::kSegmentReady) continue;
    const CompactedSegment segment = compaction.take_segment();
    FUZZ_CHECK(log.may_swap(compaction.plan(), segment));
    FUZZ_CHECK(log.prepare_swap(segment, kNowMs));
    FUZZ_CHECK(persist_swap_intent(index, *log.cleaner_checkpoint(), compaction.plan(), segment));
    FUZZ_CHECK(log.swap_in(segment));
    FUZZ_CHECK(persist_swap(files, index, {log.id(), segment.summary.base_offset}, log.directory(), segment));
    FUZZ_CHECK(log.finish_swap(segment, kNowMs));
  }
  compaction.discard();
  FUZZ_CHECK(log.log_end_offset() == end_offset);
  walk(log);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  storage::test::FaultFileSystem files;
  static const std::unique_ptr<OffsetIndex> index = std::move(*OffsetIndex::open_in_memory());
  LogOptions options;
  options.directory = std::string(kDirectory);
  options.id = {Uuid::from_random(1, 2), 0};
  options.topic = "log";
  options.now_ms = kNowMs;
  options.config.compact = true;
  options.config.delete_old = false;
  (void)index->remove_partition(options.id);
  (void)files.create_directory(options.directory);
  const bool puts_right = (data[0] & 1) != 0;
  Bytes rest = std::as_bytes(std::span(data + 1, size - 1));
  for (size_t i = 0; i < kMaxFiles && !rest.empty(); ++i) {
    const auto end = i + 1 == kMaxFiles ? rest.end() : std::find(rest.begin(), rest.end(), kNextFile);
    Buffer content(rest.begin(), end);
    rest = rest.subspan(content.size() + (end == rest.end() ? 0 : 1));
    if (puts_right) put_crcs_right(content);
    const std::string path =
        options.directory + "/" + Segment::file_name(static_cast<int64_t>(i) * kFilesApart);
    const auto file = files.open(path, OpenMode::kCreate);
    const Bytes pieces[] = {content};
    (void)(*file)->write_at(pieces, 0);
  }
  auto log = Log::open(files, *index, options, nullptr);
  if (!log) return 0;
  const std::vector<int64_t> found = walk(**log);
  log->reset();
  log = Log::open(files, *index, options, nullptr);
  FUZZ_CHECK(log && walk(**log) == found);
  compact(files, *index, **log);
  return 0;
}

std::vector<Buffer> fuzz::seeds() {
  std::vector<Buffer> found;
  const auto batches = plain_batches();
  for (const size_t count : {1, 2, 3}) {
    Buffer input{std::byte{1}};
    int64_t offset = 0;
    for (size_t i = 0; i < count; ++i) {
      Buffer batch = batches[i % batches.size()];
      protocol::set_base_offset(batch, offset);
      offset += protocol::peek_batch_header(batch)->last_offset_delta + 1;
      input.insert(input.end(), batch.begin(), batch.end());
    }
    found.push_back(input);
    input.push_back(kNextFile);
    Buffer batch = batches.front();
    protocol::set_base_offset(batch, std::max(offset, kFilesApart));
    input.insert(input.end(), batch.begin(), batch.end());
    found.push_back(input);
  }
  return found;
}
