import { versionText } from '../../../kernel/version.js';
import type { DocumentRow } from '../../shard/core/rows.js';
import { refused, type Proposal, type WriteOutcome } from './write.js';

/** Why a write is not made, since its condition on the live row does not hold (replication 3); undefined: it is made. */
export function checkCondition(proposal: Proposal, live: DocumentRow | undefined): WriteOutcome | undefined {
  const condition = proposal.condition;
  if (condition === undefined) return undefined;
  switch (condition.kind) {
    case 'absent':
      return live === undefined
        ? undefined
        : refused('VERSION_CONFLICT', `the document exists, with version "${versionText(live.version)}"`);
    case 'present':
      return live === undefined ? refused('DOCUMENT_NOT_FOUND', `there is no document "${proposal.id}"`) : undefined;
    case 'version':
      if (live === undefined) return refused('VERSION_CONFLICT', 'the document does not exist');
      if (versionText(live.version) === condition.version) return undefined;
      return refused('VERSION_CONFLICT', `the document has version "${versionText(live.version)}"; read it again`);
  }
}
