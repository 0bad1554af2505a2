// What the handlers work on. Made by the server at start, passed to every handler; nothing here is global.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "broker/metadata/broker_settings.h"
#include "broker/metadata/config_describer.h"
#include "broker/metadata/controller.h"
#include "broker/metadata/metadata_cache.h"
#include "broker/replication/fetch_session.h"
#include "broker/replication/partition_table.h"
#include "broker/replication/write_trouble.h"
#include "broker/runtime/shard_group.h"
#include "storage/log_directory.h"

namespace millrace::coordinator {
class GroupService;
}

namespace millrace::api {

class RequestMetrics;

// The part of one shard; touched there only.
struct ShardServices {
  replication::PartitionTable& partitions;
  replication::FetchSessionCache fetch_sessions;
  metadata::BrokerConfig config;  // follows dynamic changes
  // Producer ids not given out yet.
  int64_t next_producer_id = 0;
  int64_t producer_ids_left = 0;
};

struct Services {
  runtime::ShardGroup& shards;
  const metadata::StaticConfig& static_config;
  int32_t node_id = 0;
  metadata::MetadataCache& metadata;
  metadata::Controller& controller;  // of the home shard (the first)
  metadata::ConfigDescriber describer;
  storage::LogDirectory& log_directory;
  // Reads of what isn't in memory. A pool of its own, so that syncs never wait for them.
  runtime::DiskPool& cold_reads;
  RequestMetrics& metrics;
  coordinator::GroupService* groups = nullptr;  // set before the first request
  std::vector<std::unique_ptr<ShardServices>> by_shard;
  replication::WriteTrouble write_trouble;

  runtime::Shard& home() { return shards[0]; }
  ShardServices& of(const runtime::Shard& shard) { return *by_shard[shard.id()]; }
};

}  // namespace millrace::api
