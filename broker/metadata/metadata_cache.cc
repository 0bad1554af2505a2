#include "broker/metadata/metadata_cache.h"

#include <algorithm>

#include "broker/runtime/logging.h"
#include "broker/runtime/shard.h"

namespace millrace::metadata {

// What one shard has. Touched by its thread only, but for the listeners, which are complete before start().
struct MetadataCache::Slot {
  ImagePtr image = std::make_shared<const ClusterImage>();
  std::vector<ImageListener*> listeners;
};

namespace {

// A pointer with a count of its own, so that shards that copy their pointers don't share a cache line.
ImagePtr own_count(const ImagePtr& image) {
  auto holder = std::make_shared<ImagePtr>(image);
  return {holder, holder->get()};
}

}  // namespace

MetadataCache::MetadataCache(runtime::ShardGroup& shards, MetadataStore& store)
    : shards_(shards),
      store_(store),
      newest_(std::make_shared<const ClusterImage>()),
      published_(newest_),
      builder_(newest_) {
  for (size_t i = 0; i < shards_.size(); ++i) slots_.push_back(std::make_unique<Slot>());
}

MetadataCache::~MetadataCache() = default;

void MetadataCache::add_listener(runtime::Shard& shard, ImageListener& listener) {
  slots_[shard.id()]->listeners.push_back(&listener);
}

const ImagePtr& MetadataCache::image() const { return slots_[runtime::Shard::current()->id()]->image; }

runtime::Task<Result<>> MetadataCache::start() {
  if (Result<> loaded = co_await reload(); !loaded) co_return loaded;
  co_await publish();
  running_ = 2;
  shards_[0].spawn([this] { return follow(); });
  shards_[0].spawn([this] { return publish_all(); });
  co_return Result<>{};
}

runtime::Task<> MetadataCache::stop() {
  stopping_ = true;
  if (watch_) watch_->close();
  folded_.notify_all();
  applied_.notify_all();
  while (running_ > 0) co_await applied_.wait();
}

// Reads everything, and watches from there.
runtime::Task<Result<>> MetadataCache::reload() {
  Result<RangeResult> range = co_await store_.range("");
  if (!range) co_return std::unexpected(range.error());
  if (Result<> folded = builder_.fold_range(*range); !folded) co_return folded;
  newest_ = builder_.build();
  watch_ = store_.watch("", range->revision);
  folded_.notify_all();
  co_return Result<>{};
}

runtime::Task<> MetadataCache::follow() {
  while (!stopping_) {
    Result<WatchBatch> batch = co_await watch_->next();
    if (stopping_ || !batch) break;
    if (batch->compacted) {
      if (Result<> loaded = co_await reload(); !loaded) {
        runtime::log_error("metadata: can't be read again, and stays as it is: {}", loaded.error().message);
        break;
      }
      continue;
    }
    if (Result<> folded = builder_.fold(batch->events, batch->revision); !folded) {
      runtime::log_error("metadata: passed over what can't be read: {}", folded.error().message);
    }
    newest_ = builder_.build();
    folded_.notify_all();
  }
  --running_;
  stopping_ = true;
  folded_.notify_all();
  applied_.notify_all();
}

runtime::Task<> MetadataCache::publish_all() {
  while (!stopping_) {
    if (newest_ == published_) {
      co_await folded_.wait();
      continue;
    }
    co_await publish();
  }
  --running_;
  applied_.notify_all();
}

runtime::Task<> MetadataCache::call_listeners(size_t shard, ImagePtr before, ImagePtr after,
                                              const ImageDelta& delta) {
  auto on_shard = [&]() -> runtime::Task<> {
    for (ImageListener* listener : slots_[shard]->listeners)
      co_await listener->on_image(before, after, delta);
  };
  // A listener has no error to report; one that throws all the same must not hold up the others for ever.
  try {
    co_await shards_[shard].call(on_shard);
  } catch (const runtime::ShardStopped&) {
  } catch (const std::exception& e) {
    runtime::log_error("metadata: shard {} could not take revision {}: {}", shard, after->revision(),
                       e.what());
  }
}

// Hands newest_ to every shard: first to the listeners of all, side by side, then as image().
runtime::Task<> MetadataCache::publish() {
  const ImagePtr before = published_;
  const ImagePtr after = newest_;
  const ImageDelta delta = builder_.delta();
  builder_ = ImageBuilder(after);
  size_t waiting = shards_.size();
  runtime::Notifier done;
  for (size_t i = 0; i < shards_.size(); ++i) {
    auto tell = [&, i]() -> runtime::Task<> {
      co_await call_listeners(i, before, after, delta);
      if (--waiting == 0) done.notify_all();
    };
    shards_[0].spawn(tell);
  }
  while (waiting > 0) co_await done.wait();
  for (size_t i = 0; i < shards_.size(); ++i) {
    auto set = [this, i, &after] { slots_[i]->image = own_count(after); };
    co_await shards_[i].call(set);
  }
  published_ = after;
  applied_.notify_all();
}

runtime::Task<bool> MetadataCache::folded(int64_t revision) {
  while (!stopping_ && newest_->revision() < revision) co_await folded_.wait();
  co_return newest_->revision() >= revision;
}

runtime::Task<bool> MetadataCache::applied(int64_t revision) {
  auto wait = [this, revision] { return wait_applied(revision); };
  co_return co_await shards_[0].call(wait);
}

runtime::Task<bool> MetadataCache::wait_applied(int64_t revision) {
  while (!stopping_ && published_->revision() < revision) co_await applied_.wait();
  co_return published_->revision() >= revision;
}

}  // namespace millrace::metadata
