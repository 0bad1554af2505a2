// Follows the metadata store and hands every shard the newest image.
//
// A new image reaches a shard in two steps: first every shard's listeners get it (they create logs, move
// leaders, delete), then every shard's image() becomes it. So whoever sees a topic in image() can use it, on
// any shard. Images that pile up meanwhile are handed on as one.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "broker/metadata/cluster_image.h"
#include "broker/metadata/metadata_store.h"
#include "broker/runtime/notifier.h"
#include "broker/runtime/shard_group.h"
#include "broker/runtime/task.h"

namespace millrace::metadata {

// Called on the shard it was registered for, one call at a time, in order of revisions. What it awaits delays
// image() and applied() everywhere, never a request. It has no error to report: a partition that can't be
// opened is its own matter.
class ImageListener {
 public:
  virtual ~ImageListener() = default;
  virtual runtime::Task<> on_image(ImagePtr before, ImagePtr after, const ImageDelta& delta) = 0;
};

// Lives on the home shard (the first of the group), where all but image() is called.
class MetadataCache {
 public:
  // All outlive the cache.
  MetadataCache(runtime::ShardGroup& shards, MetadataStore& store);
  ~MetadataCache();

  // Before start(). The listener outlives stop(). Those of one shard are called in the order of registration.
  void add_listener(runtime::Shard& shard, ImageListener& listener);

  // Reads the store, and returns when every shard has the image. Then follows, until stop().
  runtime::Task<Result<>> start();
  runtime::Task<> stop();

  // On every shard: its image, never null (empty before start). Cheap, takes no lock; a reference is good
  // until the next co_await, the pointer for as long as it is kept.
  const ImagePtr& image() const;

  // On the home shard: the newest folded image, which the other shards may not have yet.
  const ImagePtr& newest() const { return newest_; }
  // On the home shard: waits until newest() is at `revision` or later. False when the cache stops first.
  runtime::Task<bool> folded(int64_t revision);
  // On any shard: waits until image() of every shard is at `revision` or later. False when the cache stops
  // first.
  runtime::Task<bool> applied(int64_t revision);

 private:
  struct Slot;

  runtime::Task<Result<>> reload();
  runtime::Task<> follow();
  runtime::Task<> publish_all();
  runtime::Task<> publish();
  runtime::Task<> call_listeners(size_t shard, ImagePtr before, ImagePtr after, const ImageDelta& delta);
  runtime::Task<bool> wait_applied(int64_t revision);

  runtime::ShardGroup& shards_;
  MetadataStore& store_;
  std::vector<std::unique_ptr<Slot>> slots_;  // by shard
  std::unique_ptr<Watch> watch_;
  ImagePtr newest_;
  ImagePtr published_;
  // From the image last handed to the shards (or on its way there) to newest_.
  ImageBuilder builder_;
  runtime::Notifier folded_;
  runtime::Notifier applied_;
  bool stopping_ = false;
  int running_ = 0;
};

}  // namespace millrace::metadata
