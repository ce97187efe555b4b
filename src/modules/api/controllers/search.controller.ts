import { Controller, Inject, Post, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { SearchPort } from '../../coordinator/coordinator.js';
import { SEARCH } from '../../coordinator/coordinator.js';
import { READ_ERRORS } from '../docs/common-errors.js';
import { searchAnswerJson } from '../core/search-answer.js';
import { Endpoint } from '../http/endpoint.js';
import { callOf, searchOf, sendJson, sessionOf } from '../rest.mapper.js';
import { SearchAnswerShape } from '../schemas/answers.js';
import { NoQuery } from '../schemas/fields.js';
import { queryReader } from '../schemas/query.js';
import { SearchBody } from '../schemas/search.js';
import { validator } from '../schemas/validator.js';

const searchBody = validator(SearchBody);
const noQuery = queryReader(NoQuery);

/** Hybrid search (api.md, Search): the hot path, so it does nothing that it need not. */
@Controller('api/v1')
export class SearchController {
  constructor(@Inject(SEARCH) private readonly searches: SearchPort) {}

  @Post('search')
  @Endpoint({
    scope: 'read',
    tag: 'Search',
    summary: 'Search by text, by vector, or by both',
    query: NoQuery,
    body: SearchBody,
    headers: ['Spector-Session'],
    answers: { 200: SearchAnswerShape },
    errors: [...READ_ERRORS, 'DIMENSION_MISMATCH', 'COVERAGE_TOO_LOW'],
  })
  async search(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    noQuery(request.query);
    const body = searchBody(request.body);
    const session = sessionOf(request, { session: body.session });
    const answer = await this.searches.search(searchOf(body, session), callOf(reply, session, body.timeoutMs));
    sendJson(reply, 200, searchAnswerJson(answer), { session: answer.session });
  }
}
