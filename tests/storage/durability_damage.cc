// Planted faults, damage of stored files, and its repair.
#include <algorithm>

#include "tests/storage/durability_simulation.h"

namespace millrace::storage::test {

Result<LogCheckpoint> DurabilitySimulation::checkpoint_of(size_t i) {
  calm_ = true;
  const auto loaded = load_checkpoint(files_, log(i).directory());
  calm_ = false;
  if (!loaded || !*loaded) return LogCheckpoint{};
  return **loaded;
}

void DurabilitySimulation::restore_floor(size_t i, const LogCheckpoint& before) {
  auto now = checkpoint_of(i);
  now->journal_floor = before.journal_floor;
  calm_ = true;
  (void)store_checkpoint(files_, log(i).directory(), *now);
  calm_ = false;
}

void DurabilitySimulation::hide_damage() {
  for (const std::string& path : files_.paths()) {
    if (!path.ends_with(Segment::kSuffix)) continue;
    for (Buffer* content : {&files_.content(path), &files_.on_disk(path)}) {
      for (size_t at = 0; at + protocol::BatchHeader::kSize <= content->size();) {
        const MutableBytes rest = MutableBytes(*content).subspan(at);
        const auto header = protocol::peek_batch_header(rest);
        if (!header || header->size_bytes() > rest.size()) break;
        protocol::update_crc(rest.first(header->size_bytes()));
        at += header->size_bytes();
      }
    }
  }
}

std::optional<DurabilitySimulation::Damage> DurabilitySimulation::lose_something() {
  std::vector<std::pair<std::string, std::string>> candidates;
  calm_ = true;
  for (const SimulatedPartition& partition : shard_.partitions()) {
    if (partition.options.config.compact) continue;  // a swap may be half done
    const auto checkpoint = load_checkpoint(files_, partition.options.directory);
    if (!checkpoint || !*checkpoint) continue;
    const auto entries = *files_.list(partition.options.directory);
    const auto is_deleted = [](const DirectoryEntry& entry) {
      return entry.name.ends_with(Segment::kDeletedSuffix);
    };
    if (std::ranges::any_of(entries, is_deleted)) continue;
    std::string before;
    for (const DirectoryEntry& entry : entries) {
      const auto base = Segment::base_offset_of(entry.name);
      if (!base) continue;
      const bool must_follow =
          *base > (*checkpoint)->log_start_offset && *base <= (*checkpoint)->recovery_point;
      if (must_follow && !before.empty()) candidates.emplace_back(partition.options.directory, before);
      before = partition.options.directory + "/" + entry.name;
    }
  }
  std::optional<Damage> damage;
  if (!candidates.empty()) {
    const auto& [directory, path] = candidates[looter_() % candidates.size()];
    damage = Damage{.path = path, .lost = files_.content(path)};
    const size_t first_batch = first_batch_of(*damage->lost);
    if (first_batch == 0 || looter_() % 2 == 0) {
      (void)files_.remove(path);
      (void)files_.sync_directory(directory);
    } else {
      const size_t left = looter_() % 2 == 0 || first_batch == damage->lost->size() ? 0 : first_batch;
      for (Buffer* content : {&files_.content(path), &files_.on_disk(path)}) content->resize(left);
    }
    if (trace) {
      const auto checkpoint = load_checkpoint(files_, directory);
      trace(fmt::format("  {} has {} of {} bytes left, the first batch {}; start {}, recovery point {}", path,
                        files_.has(path) ? files_.content(path).size() : 0, damage->lost->size(), first_batch,
                        (*checkpoint)->log_start_offset, (*checkpoint)->recovery_point));
      for (const auto& [at, size] : places_of_batches(*damage->lost)) {
        const auto header = protocol::peek_batch_header(Bytes(*damage->lost).subspan(at));
        trace(fmt::format("    it had {} to {} at {}", header->base_offset, header->last_offset(), at));
      }
    }
    if (!damage->lost->empty()) {
      count("fault: lost segment");
      shard_.die(true);
    }
  }
  calm_ = false;
  return damage;
}

size_t DurabilitySimulation::first_batch_of(const Buffer& content) {
  if (content.size() < protocol::BatchHeader::kSize) return 0;
  const auto header = protocol::peek_batch_header(content);
  return header && header->size_bytes() <= content.size() ? header->size_bytes() : 0;
}

std::optional<DurabilitySimulation::Damage> DurabilitySimulation::damage_something() {
  if (misplaces_) return misplace_something();
  if (looter_() % 3 == 0) return lose_something();
  std::vector<std::string> candidates;
  for (const std::string& path : files_.paths()) {
    const bool is_looked_at = path.ends_with(Segment::kSuffix) || path.ends_with(JournalDirectory::kSuffix);
    if (is_looked_at && !files_.content(path).empty()) candidates.push_back(path);
  }
  if (candidates.empty()) return std::nullopt;
  shard_.die(true);
  const std::string& path = candidates[static_cast<size_t>(below(static_cast<int64_t>(candidates.size())))];
  const auto position = path.ends_with(Segment::kSuffix) ? place_under_crc(files_.content(path))
                                                         : anywhere(files_.content(path));
  if (!position) return std::nullopt;
  count("fault: flipped bit");
  Damage damage{.path = path, .position = *position, .flipped = std::byte{1} << below(8)};
  flip(damage);
  return damage;
}

std::optional<DurabilitySimulation::Damage> DurabilitySimulation::misplace_something() {
  std::vector<std::string> candidates;
  for (size_t i = 0; i < kPartitions; ++i) {
    if (i == kCompacted) continue;
    for (const std::string& path : files_.paths()) {
      if (path.starts_with(shard_.partitions()[i].options.directory) && path.ends_with(Segment::kSuffix))
        candidates.push_back(path);
    }
  }
  if (candidates.empty()) return std::nullopt;
  const std::string& path = candidates[misplacer_() % candidates.size()];
  const auto batches = places_of_batches(files_.content(path));
  if (batches.empty()) return std::nullopt;
  shard_.die(true);
  count("fault: flipped base offset");
  Damage damage{.path = path,
                .position = batches[misplacer_() % batches.size()].first + misplacer_() % sizeof(int64_t),
                .flipped = std::byte{1} << (misplacer_() % 8)};
  flip(damage);
  return damage;
}

std::optional<size_t> DurabilitySimulation::anywhere(const Buffer& content) {
  return static_cast<size_t>(below(static_cast<int64_t>(content.size())));
}

// Where each begins, and its size.
std::vector<std::pair<size_t, size_t>> DurabilitySimulation::places_of_batches(const Buffer& content) {
  std::vector<std::pair<size_t, size_t>> batches;
  for (size_t at = 0; at + protocol::BatchHeader::kSize <= content.size();) {
    const auto header = protocol::peek_batch_header(Bytes(content).subspan(at));
    if (!header || header->size_bytes() > content.size() - at) break;
    batches.emplace_back(at, header->size_bytes());
    at += header->size_bytes();
  }
  return batches;
}

std::optional<size_t> DurabilitySimulation::place_under_crc(const Buffer& content) {
  constexpr size_t kCrcAt = 17;
  const auto batches = places_of_batches(content);
  if (batches.empty()) return std::nullopt;
  const auto [at, size] = batches[static_cast<size_t>(below(static_cast<int64_t>(batches.size())))];
  return at + kCrcAt + static_cast<size_t>(below(static_cast<int64_t>(size - kCrcAt)));
}

void DurabilitySimulation::flip(Damage& damage) {
  for (Buffer* content : {&files_.content(damage.path), &files_.on_disk(damage.path)}) {
    std::optional<std::byte> left;
    if (damage.position < content->size()) left = (*content)[damage.position] ^= damage.flipped;
    damage.left.push_back(left);
  }
}

// Where a start hasn't done so itself.
void DurabilitySimulation::flip_back(const Damage& damage) {
  auto left = damage.left.begin();
  for (Buffer* content : {&files_.content(damage.path), &files_.on_disk(damage.path)}) {
    if (damage.position < content->size() && *left == (*content)[damage.position])
      (*content)[damage.position] ^= damage.flipped;
    ++left;
  }
}

bool DurabilitySimulation::refuses_what_is_damaged() {
  bool refuses = false;
  for (size_t i = 0; i < kPartitions; ++i) {
    for (int64_t offset = log(i).log_start_offset(); offset < log(i).log_end_offset(); ++offset) {
      const DamagedRange* range = log(i).damages().covering(offset);
      if (range == nullptr) continue;
      refuses = true;
      const auto read = log(i).read(offset, log(i).log_end_offset(), 1, true);
      require(!read && read.error().code == ErrorCode::kCorruptMessage, "{} serves damaged offset {}",
              log(i).name(), offset);
    }
  }
  return refuses;
}

bool DurabilitySimulation::names_as_damaged(const std::string& path) {
  for (size_t i = 0; i < kPartitions; ++i) {
    for (int64_t offset = log(i).log_start_offset(); offset < log(i).log_end_offset(); ++offset) {
      const DamagedRange* range = log(i).damages().covering(offset);
      if (range != nullptr && range->file == path) return true;
    }
  }
  return false;
}

void DurabilitySimulation::repair() {
  if (damage_->lost) {
    calm_ = true;
    (void)files_.open(damage_->path, OpenMode::kCreate);
    (void)files_.sync_directory(damage_->path.substr(0, damage_->path.rfind('/')));
    calm_ = false;
    files_.content(damage_->path) = files_.on_disk(damage_->path) = *damage_->lost;
  } else if (files_.has(damage_->path)) {
    flip_back(*damage_);
  }
  damage_.reset();
}

}  // namespace millrace::storage::test
