import { mainJob } from './main-job.js';

mainJob('nft');
